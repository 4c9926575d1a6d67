"""`make suite-selftest` passes only where each fault is told apart from the others."""

from __future__ import annotations

import pytest

from tests.selftest.faults import FAULTS
from tests.selftest.verdict import Verdict

FAULT = FAULTS[0]
NAMED = f"{FAULT.caught_by}[case]"
OTHERS = {f"test_{number}": True for number in range(10)}


def test_a_fault_is_told_apart_when_its_test_fails_and_most_others_pass() -> None:
    assert Verdict(FAULT, {**OTHERS, NAMED: False, "test_0": False}, is_whole=True).is_good


@pytest.mark.parametrize(
    "passed",
    [
        {**OTHERS, NAMED: True},
        OTHERS,
        {**OTHERS, NAMED: False, "test_0": False, "test_1": False, "test_2": False},
        {NAMED: False},
        {},
    ],
    ids=["not caught", "never looked for", "too many fail", "nothing else ran", "nothing ran"],
)
def test_a_fault_is_not_told_apart_otherwise(passed: dict[str, bool]) -> None:
    assert not Verdict(FAULT, passed, is_whole=True).is_good


def test_a_run_that_was_broken_off_says_nothing() -> None:
    verdict = Verdict(FAULT, {**OTHERS, NAMED: False}, is_whole=False)
    assert not verdict.is_good
    assert "BROKEN OFF" in verdict.line()
