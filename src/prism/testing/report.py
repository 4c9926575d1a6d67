"""Pytest plugin that reports which backends pass the acceptance suite.

    pytest -p prism.testing.report --prism-report=compliance.json

writes the number of tests passed, failed, unsupported by declaration and not reachable, by
backend, level and group, as JSON and beside it as Markdown. `--prism-report-into=README.md`
also puts the table between `<!-- compliance -->` and `<!-- /compliance -->` in that file.
It works with pytest-xdist, and does nothing without the option.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Generator, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import NamedTuple

import pytest

from prism.ports.text import counted
from prism.testing import markdown_block
from prism.testing.suite import GROUPS, NOT_REACHABLE, UNSUPPORTED, group_of

BEGIN, END = "<!-- compliance -->", "<!-- /compliance -->"

_PROPERTY = "prism"


class Verdict(StrEnum):
    """Verdict of one test."""

    PASSED = "passed"
    FAILED = "failed"
    UNSUPPORTED = "unsupported"
    NOT_REACHABLE = "not_reachable"


_SYMBOLS = {
    Verdict.PASSED: "✓",
    Verdict.FAILED: "✗",
    Verdict.UNSUPPORTED: "∅",
    Verdict.NOT_REACHABLE: "○",
}


class Column(NamedTuple):
    """Column of the table: a backend at one level."""

    backend: str
    level: str


class _Outcome(NamedTuple):
    verdict: Verdict
    reason: str


class Matrix:
    """Verdicts by column, group and test."""

    def __init__(self) -> None:
        self._cells: dict[tuple[Column, str], dict[str, _Outcome]] = {}

    def __bool__(self) -> bool:
        """Whether any test of the suite ran."""
        return bool(self._cells)

    def add(
        self, backend: str, level: str, group: str, test: str, verdict: Verdict, reason: str = ""
    ) -> None:
        """Add a verdict; of several for one test, a failure wins."""
        cell = self._cells.setdefault((Column(backend, level), group), {})
        if test not in cell or verdict is Verdict.FAILED:
            cell[test] = _Outcome(verdict, reason)

    def as_json(self) -> list[dict[str, object]]:
        """Return one row for each cell: counts, reasons of skipped tests, names of failed ones."""
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
        """Return a table of groups by columns, followed by the reasons of skipped tests."""
        columns = sorted({column for column, _ in self._cells})
        lines = [
            "| | " + " | ".join(f"{column.backend}, {column.level}" for column in columns) + " |",
            "|---|" + "---|" * len(columns),
        ]
        for group in GROUPS:
            cells = [self._cells.get((column, group), {}) for column in columns]
            lines.append(f"| {group} | " + " | ".join(map(_cell_text, cells)) + " |")
        lines += [
            "",
            "✓ passed · ✗ failed · ∅ unsupported by declaration · ○ not reachable at this level",
        ]
        reasons = self._reasons()
        return "\n".join([*lines, "", *reasons] if reasons else lines)

    def _reasons(self) -> list[str]:
        tests: Counter[str] = Counter()
        columns: dict[str, set[Column]] = {}
        for (column, _), cell in self._sorted():
            for each in cell.values():
                if each.reason:
                    tests[each.reason] += 1
                    columns.setdefault(each.reason, set()).add(column)
        return [
            f"- {_SYMBOLS[_skip_verdict(reason)]} {reason.partition(': ')[2] or reason}: "
            f"{counted(count, 'test')} in {counted(len(columns[reason]), 'column')}"
            for reason, count in sorted(tests.items())
        ]

    def _sorted(self) -> list[tuple[tuple[Column, str], Mapping[str, _Outcome]]]:
        order = list(GROUPS)
        return sorted(self._cells.items(), key=lambda item: (item[0][0], order.index(item[0][1])))


def _cell_text(cell: Mapping[str, _Outcome]) -> str:
    counts = {verdict: _count(cell.values(), verdict) for verdict in Verdict}
    return " ".join(f"{_SYMBOLS[verdict]} {count}" for verdict, count in counts.items() if count)


def _count(outcomes: Iterable[_Outcome], verdict: Verdict) -> int:
    return sum(each.verdict is verdict for each in outcomes)


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("prism")
    group.addoption(
        "--prism-report", type=Path, help="Write the compliance report to this file, as JSON."
    )
    group.addoption(
        "--prism-report-into", type=Path, help="Also put its table into this Markdown file."
    )


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--prism-report")
    if path is not None:
        into = config.getoption("--prism-report-into")
        config.pluginmanager.register(ReportPlugin(path, into), "prism-report")


class ReportPlugin:
    """Collects the verdicts of the suite's tests from every worker, and writes the report.

    Args:
        path: JSON file to write; the Markdown file has the same name with `.md`.
        into: Markdown file whose compliance block is replaced; None: no such file.
    """

    def __init__(self, path: Path, into: Path | None) -> None:
        self._path = path
        self._into = into
        self._matrix = Matrix()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if isinstance(item, pytest.Function) and (group := group_of(item.function)):
            target = item.funcargs.get("open_backend")
            # A factory that an author wrote has no names, so the class stands for the backend.
            backend = getattr(target, "backend", item.cls.__name__ if item.cls else "?")
            level = getattr(target, "level", "?")
            report.user_properties.append((_PROPERTY, f"{backend}\n{level}\n{group}"))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        place = dict(report.user_properties).get(_PROPERTY)
        if isinstance(place, str) and (verdict := _verdict(report)):
            backend, level, group = place.split("\n")
            self._matrix.add(backend, level, group, report.nodeid, verdict, _reason(report))

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput") or not self._matrix:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text(json.dumps(self._matrix.as_json(), indent=2) + "\n")
        self._path.with_suffix(".md").write_text(self._matrix.as_markdown() + "\n")
        if self._into is not None:
            text = self._into.read_text()
            self._into.write_text(replace_block(text, self._matrix.as_markdown()))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._matrix:
            terminalreporter.section("compliance")
            terminalreporter.write_line(self._matrix.as_markdown())


def replace_block(text: str, table: str) -> str:
    """Return the text with its compliance block replaced."""
    try:
        return markdown_block.replace_block(text, "compliance", table)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def _verdict(report: pytest.TestReport) -> Verdict | None:
    """Return the verdict; None: this phase of the test has none."""
    if report.failed:
        return Verdict.FAILED
    if report.skipped:
        return _skip_verdict(_reason(report))
    return Verdict.PASSED if report.when == "call" else None


def _skip_verdict(reason: str) -> Verdict:
    """Return the verdict of a skipped test; any other reason to skip counts as a failure."""
    if reason.startswith(UNSUPPORTED):
        return Verdict.UNSUPPORTED
    return Verdict.NOT_REACHABLE if reason.startswith(NOT_REACHABLE) else Verdict.FAILED


def _reason(report: pytest.TestReport) -> str:
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return ""
    return str(report.longrepr[2]).removeprefix("Skipped: ")
