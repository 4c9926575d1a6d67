"""What passed where: by backend, level and group."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, NamedTuple

from prism.testing.suite import GROUPS, NOT_REACHABLE, UNSUPPORTED


class Verdict(StrEnum):
    """What became of a test."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    NOT_REACHABLE = "not_reachable"


class Column(NamedTuple):
    """One backend, and how it was reached."""

    backend: str
    level: str


class _Outcome(NamedTuple):
    verdict: Verdict
    reason: str


class Matrix:
    """Outcomes by column, group and test."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Column, str], dict[str, _Outcome]] = {}

    def __bool__(self) -> bool:
        """Whether any test of the suite ran."""
        return bool(self._cells)

    def add(
        self, backend: str, level: str, group: str, test: str, verdict: Verdict, reason: str = ""
    ) -> None:
        """Note one outcome; of several for one test, a failure is what counts."""
        cell = self._cells.setdefault((Column(backend, level), group), {})
        if test not in cell or verdict is Verdict.FAILED:
            cell[test] = _Outcome(verdict, reason)

    def as_json(self) -> list[dict[str, Any]]:
        """A row for each cell, with counts and the reasons for what did not run."""
        return [
            {
                "backend": column.backend,
                "level": column.level,
                "group": group,
                **{verdict: _count(cell.values(), verdict) for verdict in Verdict},
                "reasons": dict(Counter(each.reason for each in cell.values() if each.reason)),
                "failures": [test for test, each in cell.items() if each.verdict == Verdict.FAILED],
            }
            for (column, group), cell in self._sorted()
        ]

    def as_markdown(self) -> str:
        """A table of groups by columns, and below it why something did not run."""
        columns = sorted({column for column, _ in self._cells})
        lines = [
            "| | " + " | ".join(f"{column.backend}, {column.level}" for column in columns) + " |",
            "|---|" + "---|" * len(columns),
        ]
        for group in GROUPS:
            cells = [self._cells.get((column, group), {}) for column in columns]
            lines.append(f"| {group} | " + " | ".join(map(_shown, cells)) + " |")
        lines += [
            "",
            "✓ passed · ✗ failed · ∅ unsupported by declaration · ○ not reachable at this level",
        ]
        reasons = self._reasons()
        return "\n".join([*lines, "", *reasons] if reasons else lines)

    def _reasons(self) -> list[str]:
        found: dict[str, dict[Column, int]] = {}
        for (column, _), cell in self._sorted():
            for each in cell.values():
                if each.reason:
                    counts = found.setdefault(each.reason, {})
                    counts[column] = counts.get(column, 0) + 1
        marks = {UNSUPPORTED: "∅", NOT_REACHABLE: "○"}
        return [
            f"- {next((m for begin, m in marks.items() if reason.startswith(begin)), '✗')} "
            f"{reason.partition(': ')[2] or reason}: "
            + ", ".join(
                f"{count} of {column.backend}, {column.level}" for column, count in counts.items()
            )
            for reason, counts in sorted(found.items())
        ]

    def _sorted(self) -> list[tuple[tuple[Column, str], Mapping[str, _Outcome]]]:
        order = list(GROUPS)
        return sorted(self._cells.items(), key=lambda item: (item[0][0], order.index(item[0][1])))


_MARKS = {
    Verdict.PASSED: "✓",
    Verdict.FAILED: "✗",
    Verdict.UNSUPPORTED: "∅",
    Verdict.NOT_REACHABLE: "○",
}


def _shown(cell: Mapping[str, _Outcome]) -> str:
    counts = {verdict: _count(cell.values(), verdict) for verdict in Verdict}
    return " ".join(f"{_MARKS[verdict]} {count}" for verdict, count in counts.items() if count)


def _count(outcomes: Iterable[_Outcome], verdict: Verdict) -> int:
    return sum(each.verdict is verdict for each in outcomes)
