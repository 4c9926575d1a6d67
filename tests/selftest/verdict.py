"""What the suite makes of one fault: a plugin of pytest, and a run with it."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.selftest.faults import Fault

CASES = 2
"""Of a test with many, so many say as much as all; but of the one that is named, all run."""

MOST = 0.8
"""Of the other tests that ran, so many must pass."""

FAULT = pytest.StashKey[type[Fault]]()
"""What `broken_backend` binds the suite to."""

_BINDING = Path(__file__).with_name("broken_backend.py")


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the suite made of one fault.

    Attributes:
        passed: by test; one that was skipped is left out.
        is_whole: the run came to its end.
    """

    fault: type[Fault]
    passed: dict[str, bool]
    is_whole: bool

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
        return self.is_whole and self.is_caught and self.others >= MOST

    def line(self) -> str:
        caught = "yes" if self.is_caught else "NO"
        few = "" if self.others >= MOST else "  TOO FEW"
        broken = "" if self.is_whole else "  BROKEN OFF"
        fault, test = self.fault.__name__, self.fault.caught_by
        return f"{fault:32} {test:68} {caught:6} {self.others:7.1%}{few}{broken}"

    def _is_named(self, test: str) -> bool:
        return test.partition("[")[0] == self.fault.caught_by


def judge(fault: type[Fault]) -> Verdict:
    """Run the suite on a backend with the fault; nothing is printed."""
    outcomes = _Outcomes(fault)
    plugins = ["-p", "no:xdist", "-p", "no:cacheprovider", "--assert=plain", "--tb=no"]
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        ended = pytest.main([str(_BINDING), *plugins], [outcomes])
    is_whole = ended in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    return Verdict(fault, outcomes.passed, is_whole)


class _Outcomes:
    def __init__(self, fault: type[Fault]) -> None:
        self._fault = fault
        self.passed: dict[str, bool] = {}

    def pytest_configure(self, config: pytest.Config) -> None:
        config.stash[FAULT] = self._fault

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        kept: Counter[str] = Counter()
        few = []
        for item in items:
            function = item.name.partition("[")[0]
            kept[function] += 1
            if kept[function] <= CASES or function == self._fault.caught_by:
                few.append(item)
        items[:] = few

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = report.nodeid.rpartition("::")[2]
        if report.failed:
            self.passed[test] = False
        elif report.passed and report.when == "call":
            self.passed.setdefault(test, True)
