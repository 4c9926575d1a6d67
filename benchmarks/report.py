"""Reports of a run: text for the terminal, JSON, and the tables of the documentation."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.charts import CHARTS
from benchmarks.rounds import Result, Spread
from benchmarks.rows import IN_README
from prism.cli.streams import number_columns
from prism.testing.markdown_block import replace_block
from prism.version import VERSION

_LIBRARIES = ("h2corn", "grpcio", "protobuf", "uvloop", "py-key-value-aio", "aiocache")

Json = Mapping[str, Any]


def result_lines(results: Sequence[Result]) -> list[str]:
    """Return the ratios, the figures of each side, and the settings of each side."""
    table = [["", "median", "min-max", "floor", "aim", "others", ""]]
    sides = [["", "median", "min-max"]]
    for result in results:
        row, figure = result.row, result.figure
        bound = "<=" if row.less_is_better else ""
        table.append([
            row.name, _number(figure.median), _range(figure), f"{bound}{row.floor:g}",
            f"{bound}{row.aim:g}", f"{result.foreign_load:.0%}", result.verdict,
        ])  # fmt: skip
        for side, figures in ((row.side, result.side), (row.peer, result.peer)):
            if side is not None and not row.less_is_better:
                spread = Spread.of(figures)
                sides.append([f"{row.name} | {side.name}", _number(spread.median), _range(spread)])
    lines = [
        *number_columns(table),
        "others: average share of both cores that other processes used in the rounds that count",
    ]
    if len(sides) > 1:
        lines += ["", "each side, in calls or keys per second", *number_columns(sides)]
    return [*lines, "", "settings", *_settings(results)]


def series_lines(series: Json) -> list[str]:
    """Return a table for each curve."""
    lines: list[str] = []
    if "latency" in series:
        latency = [["in flight", "server", "calls/s", "p50 ms", "p99 ms"]]
        latency += [
            [
                str(point["in_flight"]), server["name"], _number(point["calls_s"]),
                *(_number(point[f"{percentile}_us"] / 1000) for percentile in ("p50", "p99")),
            ]
            for server in series["latency"]["servers"]
            for point in server["points"]
        ]  # fmt: skip
        lines += ["", *number_columns(latency)]
    if "keys" in series:
        keys = [["keys", "gets/cpu s", "ratio", "min-max"]]
        keys += [
            [
                f"{point['keys']:,}", _number(point["gets_s"]), _number(point["ratio"]),
                _range(Spread(point["ratio"], point["min"], point["max"])),
            ]
            for point in series["keys"]["points"]
        ]  # fmt: skip
        lines += ["", *number_columns(keys)]
    return lines


def as_json(results: Sequence[Result], **run: Any) -> dict[str, Any]:
    """Return everything that was measured, with the properties of the whole run."""
    return {
        **run,
        "rows": [
            {
                "name": result.row.name,
                "what": result.row.what,
                "compared_with": result.row.compared_with,
                "median": result.figure.median,
                "min": result.figure.least,
                "max": result.figure.most,
                "floor": result.row.floor,
                "aim": result.row.aim,
                "less_is_better": result.row.less_is_better,
                "passed": result.passed,
                "foreign_load": result.foreign_load,
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
    """Return the machine and the library versions that the absolute figures belong to."""
    return {
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "libraries": {"prism": VERSION, **{name: version(name) for name in _LIBRARIES}},
    }


def _settings(results: Sequence[Result]) -> list[str]:
    return sorted({
        f"  {side.name}: {side.settings}"
        for result in results
        for side in (result.row.side, result.row.peer)
        if side is not None
    })  # fmt: skip


def _number(figure: float) -> str:
    return f"{figure:,.0f}" if figure >= 100 else f"{figure:.2f}"


def _range(spread: Spread) -> str:
    return f"{_number(spread.least)}-{_number(spread.most)}"


def short_table(run: Json) -> str:
    """Return the table of the README: some comparisons, in words for any reader."""
    found = {row["name"]: row for row in run["rows"]}
    rows = [
        (what, f"{_figure(found[name]['median'])} × {compared_with}{_missed(found[name])}")
        for name, (what, compared_with) in IN_README.items()
        if name in found
    ]
    return "\n".join(_table(("", "speed"), rows))


def full_table(run: Json) -> str:
    """Return every row with its floor and aim, and where it was measured."""
    ratios = [
        (row["what"], f"{_speed(row)}{_missed(row)}", f"{row['floor']:g}", f"{row['aim']:g}")
        for row in run["rows"]
        if not row["less_is_better"]
    ]
    figures = [
        (
            row["what"],
            f"{_figure(row['median'])}{_missed(row)}",
            f"{row['floor']:g}",
            f"{row['aim']:g}",
        )
        for row in run["rows"]
        if row["less_is_better"]
    ]
    return "\n".join([
        *_table(("more is better", "speed", "at least", "aim"), ratios),
        "",
        *_table(("less is better", "figure", "at most", "aim"), figures),
        "",
        _measured(run),
    ])  # fmt: skip


def _missed(row: Json) -> str:
    """Return a mark for a row that is on the wrong side of its floor."""
    return "" if row["passed"] else " **misses**"


def _speed(row: Json) -> str:
    return f"{_figure(row['median'])} × {row['compared_with']}"


def _figure(figure: float) -> str:
    """Return the figure with three significant digits."""
    return (
        f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"
    )


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    rule = ("---", "---", *("---:" for _ in heading[2:]))
    return [f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows)]


def _measured(run: Json) -> str:
    machine = run["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
    foreign_load = max(row["foreign_load"] for row in run["rows"])
    return (
        f"Measured on {run['day']}: {run['rounds']} rounds of {run['seconds']:g} s for each side, "
        f"on two cores of {machine['cores']}, of which other processes used at most "
        f"{foreign_load:.0%}. "
        f"Linux {machine['kernel']}, Python {machine['python']}, {libraries}."
    )


TABLES = {"docs/performance.md": full_table, "README.md": short_table}


def write_documentation(run: Json, folder: Path) -> list[Path]:
    """Write the tables and charts of a complete run, and return the files written.

    Args:
        run: JSON of the run.
        folder: folder that contains README.md and docs.

    Raises:
        ValueError: the run is not complete, or a page has no block for its table.
    """
    if not run["complete"]:
        raise ValueError("only a complete run can be written into the documentation")
    pages = {
        folder / name: replace_block((folder / name).read_text(), "benchmark", table(run))
        for name, table in TABLES.items()
    }
    pictures = {
        folder / "docs" / "pictures" / name: chart(run) + "\n" for name, chart in CHARTS.items()
    }
    # All texts exist before the first is written, so that pages and pictures agree.
    for path, text in {**pages, **pictures}.items():
        path.write_text(text)
    return [*pages, *pictures]
