"""`make suite-selftest` judges correctly whether the suite identifies a fault."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.selftest.faults import FAULTS
from tests.selftest.verdict import Verdict, judge

FAULT = FAULTS[0]
NAMED = f"{FAULT.caught_by}[case]"
OTHERS = {f"test_{number}": True for number in range(10)}


def test_a_fault_is_identified_when_its_test_fails_and_most_others_pass() -> None:
    assert Verdict(FAULT, {**OTHERS, NAMED: False, "test_0": False}, is_complete=True).is_identified


@pytest.mark.parametrize(
    "passed",
    [
        {**OTHERS, NAMED: True},
        OTHERS,
        {**OTHERS, NAMED: False, "test_0": False, "test_1": False, "test_2": False},
        {NAMED: False},
        {},
    ],
    ids=[
        "not caught",
        "named test did not run",
        "too many others fail",
        "no other test ran",
        "no test ran",
    ],
)
def test_a_fault_is_not_identified_otherwise(passed: dict[str, bool]) -> None:
    assert not Verdict(FAULT, passed, is_complete=True).is_identified


def test_an_interrupted_run_identifies_nothing() -> None:
    verdict = Verdict(FAULT, {**OTHERS, NAMED: False}, is_complete=False)
    assert not verdict.is_identified
    assert "INTERRUPTED" in verdict.line()


def test_each_fault_has_a_name_of_its_own() -> None:
    assert not [name for name, n in Counter(each.__name__ for each in FAULTS).items() if n > 1]


def test_the_documentation_says_how_many_faults_there_are() -> None:
    page = Path(__file__).parents[3] / "docs" / "acceptance-suite.md"
    assert f"There are {len(FAULTS)} faults." in " ".join(page.read_text().split())


@pytest.mark.slow
def test_the_suite_identifies_a_fault() -> None:
    assert judge(FAULT).is_identified
