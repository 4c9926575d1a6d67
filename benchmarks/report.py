"""The results as a table, and as JSON."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from benchmarks.rounds import Result, Spread
from prism.cli.streams import number_columns

_LIBRARIES = (*("prism", "h2corn", "grpcio", "protobuf", "uvloop", "py-key-value-aio", "aiocache"),)


def lines_of(results: Sequence[Result]) -> list[str]:
    """Ratios, then what each side did, then how each was built."""
    table = [["", "median", "min-max", "floor", "aim", "others", ""]]
    sides = [["", "median", "min-max"]]
    for result in results:
        row, figure = result.row, result.figure
        bound = "<=" if row.less_is_better else ""
        table.append([
            row.name, _text(figure.median), _range(figure), f"{bound}{row.floor:g}",
            f"{bound}{row.aim:g}", f"{result.others:.0%}", result.verdict,
        ])  # fmt: skip
        for side, figures in ((row.side, result.side), (row.peer, result.peer)):
            if side is not None and not row.less_is_better:
                spread = Spread.of(figures)
                sides.append([f"{row.name} | {side.name}", _text(spread.median), _range(spread)])
    lines = [
        *number_columns(table),
        "others: share of both cores that other processes had, on average of the rounds that count",
    ]
    if len(sides) > 1:
        lines += ["", "each side, in calls or keys a second", *number_columns(sides)]
    return [*lines, "", "settings", *_settings(results)]


def lines_of_series(series: Mapping[str, Any]) -> list[str]:
    """A table for each, point by point, from what the JSON has of it."""
    lines: list[str] = []
    if "latency" in series:
        latency = [["in flight", "server", "calls/s", "p50 ms", "p99 ms"]]
        latency += [
            [
                str(point["in_flight"]), server["name"], _text(point["calls_s"]),
                *(_text(point[f"{percentile}_us"] / 1000) for percentile in ("p50", "p99")),
            ]
            for server in series["latency"]["servers"]
            for point in server["points"]
        ]  # fmt: skip
        lines += ["", *number_columns(latency)]
    if "keys" in series:
        keys = [["keys", "gets/cpu s", "ratio", "min-max"]]
        keys += [
            [
                f"{point['keys']:,}", _text(point["gets_s"]), _text(point["ratio"]),
                _range(Spread(point["ratio"], point["min"], point["max"])),
            ]
            for point in series["keys"]["points"]
        ]  # fmt: skip
        lines += ["", *number_columns(keys)]
    return lines


def fields_of(results: Sequence[Result], **run: Any) -> dict[str, Any]:
    """Everything, round by round, and what holds for the whole run."""
    return {
        **run,
        "rows": [
            {
                "name": result.row.name,
                "median": result.figure.median,
                "min": result.figure.least,
                "max": result.figure.most,
                "floor": result.row.floor,
                "aim": result.row.aim,
                "less_is_better": result.row.less_is_better,
                "passed": result.passed,
                "others": result.others,
                "sides": [
                    {"name": side.name, "settings": side.settings, "rounds": list(figures)}
                    for side, figures in (
                        (result.row.side, result.side),
                        (result.row.peer, result.peer),
                    )
                    if side is not None
                ],
            }
            for result in results
        ],
    }


def machine() -> dict[str, Any]:
    """What the absolute figures belong to."""
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }


def _settings(results: Sequence[Result]) -> list[str]:
    told = {
        f"  {side.name}: {side.settings}"
        for result in results
        for side in (result.row.side, result.row.peer)
        if side is not None
    }
    return sorted(told)


def _text(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"


def _range(spread: Spread) -> str:
    return f"{_text(spread.least)}-{_text(spread.most)}"
