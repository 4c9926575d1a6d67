"""JSON of a complete run, small and invented."""

from __future__ import annotations

from typing import Any


def row(
    what: str, compared_with: str, median: float, *, less_is_better: bool = False
) -> dict[str, Any]:
    return {
        "name": f"{what} : {compared_with}" if compared_with else what,
        "what": what,
        "compared_with": compared_with,
        "median": median,
        "min": median * 0.9,
        "max": median * 1.1,
        "floor": 0.5,
        "passed": median <= 0.5 if less_is_better else median >= 0.5,
        "aim": 4,
        "less_is_better": less_is_better,
        "foreign_load": 0.04,
    }


def server(name: str, call_us: int) -> dict[str, Any]:
    return {
        "name": name,
        "points": [
            {
                "in_flight": in_flight,
                "calls_s": 1e6 / call_us,
                "p50_us": call_us * in_flight,
                "p99_us": 2 * call_us * in_flight,
            }
            for in_flight in (1, 2, 4)
        ],
    }


IN_README = {"f : g": ("F", "the calls of g"), "a : b": ("A", "the calls of b")}

RUN: dict[str, Any] = {
    "day": "2001-02-03",
    "complete": True,
    "machine": {"cores": 2, "kernel": "6.1", "python": "3.11.0", "libraries": {"prism": "0.1.0"}},
    "rounds": 5,
    "seconds": 2.0,
    "rows": [
        row("a", "b", 8.388),
        row("c & d", "e", 0.75),
        row("f", "g", 1234.5),
        row("seconds of h", "", 0.31, less_is_better=True),
    ],
    "series": {
        "latency": {"servers": [server("ours", 40), server("theirs", 300)]},
        "keys": {
            "points": [
                {"keys": keys, "gets_s": 9e3, "ratio": ratio, "min": ratio - 0.05, "max": ratio}
                for keys, ratio in ((1_000, 1.0), (1_000_000, 0.9))
            ]
        },
    },
}
