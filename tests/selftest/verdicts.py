"""A plugin of pytest that judges the suite by what it makes of broken backends.

    fault                    caught by                        caught  others that pass

The run fails when a fault is not caught by the test named for it, or when too many
other tests fail of it: then it is no single defect, or the suite repeats itself.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field

import pytest

from prism.testing.suite.faults import FAULTS, Fault

CASES = 2

MOST = 0.8
"""Of the other tests that ran, so many must pass."""


@dataclass(slots=True)
class Verdict:
    """What the suite made of one fault.

    Attributes:
        passed: by test; one that was skipped is left out.
    """

    fault: type[Fault]
    passed: dict[str, bool] = field(default_factory=dict)

    @property
    def is_caught(self) -> bool:
        """Whether the test named for it failed."""
        return not all(passed for test, passed in self.passed.items() if self._is_named(test))

    @property
    def others(self) -> float:
        """How many of the other tests passed, from 0 to 1."""
        others = [passed for test, passed in self.passed.items() if not self._is_named(test)]
        return sum(others) / max(len(others), 1)

    @property
    def is_good(self) -> bool:
        return self.is_caught and self.others >= MOST

    def line(self) -> str:
        caught = "yes" if self.is_caught else "NO"
        few = "" if self.others >= MOST else "  TOO FEW"
        fault, test = self.fault.__name__, self.fault.caught_by
        return f"{fault:32} {test:68} {caught:6} {self.others:7.1%}{few}"

    def _is_named(self, test: str) -> bool:
        return test.partition("[")[0] == self.fault.caught_by


class Verdicts:
    """Collects what the tests reported, from every worker."""

    def __init__(self) -> None:
        self._by_name: defaultdict[str, dict[str, bool]] = defaultdict(dict)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        _, name, test = report.nodeid.split("::")
        if report.failed:
            self._by_name[name][test] = False
        elif report.passed and report.when == "call":
            self._by_name[name].setdefault(test, True)

    @property
    def all(self) -> list[Verdict]:
        return [Verdict(fault, self._by_name[f"Test{fault.__name__}"]) for fault in FAULTS]

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if hasattr(session.config, "workerinput"):
            return
        if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            good = all(verdict.is_good for verdict in self.all)
            session.exitstatus = pytest.ExitCode.OK if good else pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        verdicts = self.all
        terminalreporter.section("the suite, tested on broken backends")
        header = f"{'fault':32} {'test named for it':68} caught  others that pass"
        terminalreporter.write_line(header)
        for verdict in verdicts:
            terminalreporter.write_line(verdict.line())
        good = sum(verdict.is_good for verdict in verdicts)
        terminalreporter.write_line(f"{good} of {len(verdicts)} faults are told apart")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two cases of a test with many say as much as all, but for the one that is named."""
    named = {f"Test{fault.__name__}": fault.caught_by for fault in FAULTS}
    kept: Counter[tuple[str, str]] = Counter()
    few = []
    for item in items:
        _, name, test = item.nodeid.split("::")
        function = test.partition("[")[0]
        kept[name, function] += 1
        if kept[name, function] <= CASES or named[name] == function:
            few.append(item)
    items[:] = few


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Verdicts(), "verdicts")


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Every failure here is by design: nothing to look at."""
    if report.when == "call" or report.failed:
        return ("", "", "")
    return None
