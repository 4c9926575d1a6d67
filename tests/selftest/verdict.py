"""Runs the suite on a backend with one fault, and judges whether the suite identifies it."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from prism.testing import AcceptanceSuite, group_of
from tests.selftest.faults import Fault

CASES = 2
"""Number of cases that run of each parametrized test; all cases of the named test run."""

SHARE = 4
"""One in this many of the other tests runs on each fault: on another fault, another part."""

MIN_OTHERS = 0.8
"""Fraction of the other tests that must pass."""

FAULT = pytest.StashKey[type[Fault]]()
"""Fault that `broken_backend` puts around the driver."""

_BINDING = Path(__file__).with_name("broken_backend.py")


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of the suite on one fault.

    Attributes:
        fault: the fault.
        passed: whether each test passed, by name; without skipped tests.
        is_complete: whether the run reached its end.
    """

    fault: type[Fault]
    passed: dict[str, bool]
    is_complete: bool

    @property
    def is_caught(self) -> bool:
        """Whether the named test failed."""
        return not all(passed for test, passed in self.passed.items() if self._is_named(test))

    @property
    def others(self) -> float:
        """Fraction of the other tests that passed, of those that ran, from 0 to 1."""
        others = [passed for test, passed in self.passed.items() if not self._is_named(test)]
        return sum(others) / max(len(others), 1)

    @property
    def is_identified(self) -> bool:
        """Whether the named test failed and most others passed."""
        return self.is_complete and self.is_caught and self.others >= MIN_OTHERS

    def line(self) -> str:
        """Return the row of the printed table."""
        caught = "yes" if self.is_caught else "NO"
        few = "" if self.others >= MIN_OTHERS else "  TOO FEW"
        interrupted = "" if self.is_complete else "  INTERRUPTED"
        fault, test = self.fault.__name__, self.fault.caught_by
        return f"{fault:32} {test:68} {caught:6} {self.others:7.1%}{few}{interrupted}"

    def _is_named(self, test: str) -> bool:
        return test.partition("[")[0] == self.fault.caught_by


def judge(fault: type[Fault]) -> Verdict:
    """Run the named test and a part of the others on a backend with the fault, without output."""
    outcomes = _Outcomes(fault)
    plugins = ["-p", "no:xdist", "-p", "no:cacheprovider", "--assert=plain", "--tb=no"]
    with Path(os.devnull).open("w") as devnull, contextlib.redirect_stdout(devnull):
        status = pytest.main([str(_BINDING), *plugins], [outcomes])
    is_complete = status in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    return Verdict(fault, outcomes.passed, is_complete)


class _Outcomes:
    """Pytest plugin that passes the fault to the binding and collects the outcomes."""

    def __init__(self, fault: type[Fault]) -> None:
        self._fault = fault
        self.passed: dict[str, bool] = {}

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[FAULT] = self._fault

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        if self._fault.with_server:
            # With a server in between, the whole suite would take too long.
            named = group_of(getattr(AcceptanceSuite, self._fault.caught_by))
            items[:] = [item for item in items if group_of(_function(item)) == named]
        count: Counter[str] = Counter()
        selected = []
        for item in items:
            function = item.name.partition("[")[0]
            count[function] += 1
            is_sampled = count[function] <= CASES and self._samples(function)
            if function == self._fault.caught_by or is_sampled:
                selected.append(item)
        items[:] = selected

    def _samples(self, function: str) -> bool:
        if self._fault.with_server:
            # Only the tests of one group are left to choose from.
            return True
        return crc32(f"{self._fault.__name__} {function}".encode()) % SHARE == 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.passed[test] = False
        elif report.passed and report.when == "call":
            self.passed.setdefault(test, True)


def _function(item: pytest.Item) -> Callable[..., Any]:
    assert isinstance(item, pytest.Function)
    return item.function  # type: ignore[no-any-return]
