"""The tables of the documentation, from what a run has written as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Row = Mapping[str, Any]


def ratios_of(fields: Mapping[str, Any]) -> list[Row]:
    """The rows with a peer."""
    return [row for row in fields["rows"] if not row["less_is_better"]]


def short_table(fields: Mapping[str, Any]) -> str:
    """What was compared, and how that came out."""
    rows = [(row["name"], in_words(row["median"])) for row in ratios_of(fields)]
    return "\n".join(_table(("", "ratio"), rows))


def full_table(fields: Mapping[str, Any]) -> str:
    """Every row with what is asked of it, and where that was measured."""
    figures = [row for row in fields["rows"] if row["less_is_better"]]
    return "\n".join([
        *_table(("more is better", "ratio", "at least", "aim"), map(_cells, ratios_of(fields))),
        "",
        *_table(("less is better", "figure", "at most", "aim"), map(_cells, figures)),
        "",
        _measured(fields),
    ])  # fmt: skip


def in_words(figure: float) -> str:
    """With as many digits as are worth telling."""
    return (
        f"{figure:,.0f}" if figure >= 100 else f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"
    )


def _cells(row: Row) -> tuple[str, ...]:
    return row["name"], in_words(row["median"]), f"{row['floor']:g}", f"{row['aim']:g}"


def _table(heading: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    rule = tuple("---:" if column else "---" for column in range(len(heading)))
    return [f"| {' | '.join(cells)} |" for cells in (heading, rule, *rows)]


def _measured(fields: Mapping[str, Any]) -> str:
    machine = fields["machine"]
    libraries = ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
    others = max(row["others"] for row in fields["rows"])
    return (
        f"Measured on {fields['day']}: {fields['rounds']} rounds of {fields['seconds']:g} s for "
        f"each side, on two cores of {machine['cores']}, of which others had {others:.0%} at most. "
        f"Linux {machine['kernel']}, Python {machine['python']}, {libraries}."
    )
