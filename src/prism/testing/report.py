"""A plugin of pytest that reports what keeps the contract, and where.

    pytest -p prism.testing.report --prism-report=compliance.json

writes, by backend, level and group, what passed, what failed, what is unsupported by
declaration and what is not reachable, as JSON and beside it as Markdown.
`--prism-report-into=README.md` also puts the table between the marks
`<!-- compliance -->` and `<!-- /compliance -->` of that file. It works under
pytest-xdist, and costs nothing where it is not asked for.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path

import pytest

from prism.testing import markdown_block
from prism.testing.matrix import Matrix, Verdict
from prism.testing.suite import NOT_REACHABLE, UNSUPPORTED, group_of

BEGIN, END = "<!-- compliance -->", "<!-- /compliance -->"

_PROPERTY = "prism"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("prism")
    group.addoption("--prism-report", type=Path, help="Write the compliance matrix here, as JSON.")
    group.addoption("--prism-report-into", type=Path, help="Put its table into this file.")


def pytest_configure(config: pytest.Config) -> None:
    path = config.getoption("--prism-report")
    if path is not None:
        into = config.getoption("--prism-report-into")
        config.pluginmanager.register(Report(path, into), "prism-report")


class Report:
    """Gathers the outcomes of the suite's tests, from every worker, and writes them."""

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
            way = item.funcargs.get("open_backend")
            # A factory made by hand has no names: the class that binds it has.
            backend = getattr(way, "backend", item.cls.__name__ if item.cls else "?")
            level = getattr(way, "level", "?")
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
    """The text with the table between its marks."""
    try:
        return markdown_block.replace_block(text, "compliance", table)
    except ValueError as error:
        raise pytest.UsageError(str(error)) from error


def _verdict(report: pytest.TestReport) -> Verdict | None:
    if report.failed:
        return Verdict.FAILED
    if report.skipped:
        reason = _reason(report)
        if reason.startswith(UNSUPPORTED):
            return Verdict.UNSUPPORTED
        # A skip that says neither is hiding something.
        return Verdict.NOT_REACHABLE if reason.startswith(NOT_REACHABLE) else Verdict.FAILED
    return Verdict.PASSED if report.when == "call" else None


def _reason(report: pytest.TestReport) -> str:
    if not report.skipped or not isinstance(report.longrepr, tuple):
        return ""
    return str(report.longrepr[2]).removeprefix("Skipped: ")
