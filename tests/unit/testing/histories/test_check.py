"""The checker: on violations planted by hand, and against every order tried by force."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism.testing.suite.histories import (
    NEVER,
    UNKNOWN,
    Action,
    Call,
    CompareAndDelete,
    CompareAndSet,
    Delete,
    Exists,
    Get,
    Increment,
    Set,
    Undecided,
    check,
    violation,
)
from tests.unit.testing.histories.simulation import by_force, linearizable


def call(action: Action, begin: float, end: float, result: object = None) -> Call:
    return Call(f"caller {begin}", action, begin, end, result)


def opened(action: Action, begin: float) -> Call:
    return call(action, begin, NEVER, UNKNOWN)


A, B, C = b"a", b"b", b"c"

VIOLATIONS = {
    "a stale read": [
        call(Set(A), 0, 1),
        call(Set(B), 2, 3),
        call(Get(), 4, 5, A),
    ],
    "a lost update": [
        call(Set(A), 0, 1),
        call(CompareAndSet(A, B), 2, 4, True),
        call(Get(), 5, 6, A),
    ],
    "a value that nobody wrote": [call(Set(A), 0, 1), call(Get(), 2, 3, B)],
    "a value from the future": [call(Get(), 0, 1, A), call(Set(A), 2, 3)],
    "a read that goes back in time": [
        call(Set(A), 0, 1),
        call(Set(B), 2, 9),
        call(Get(), 3, 4, B),
        call(Get(), 5, 6, A),
    ],
    "two winners on one version": [
        call(Set(A), 0, 1),
        call(CompareAndSet(A, B), 2, 5, True),
        call(CompareAndSet(A, C), 3, 4, True),
    ],
    "two winners of an absent key": [
        call(CompareAndSet(None, A), 0, 2, True),
        call(CompareAndSet(None, B), 1, 3, True),
    ],
    "a winner that was not shown what it compared with": [
        call(Set(A), 0, 1),
        call(Set(B), 2, 3),
        call(CompareAndSet(A, C), 4, 5, True),
    ],
    "a loser that should have won": [
        call(Set(A), 0, 1),
        call(CompareAndSet(A, B), 2, 3, False),
    ],
    "a deleted key that comes back": [
        call(Set(A), 0, 1),
        call(Delete(), 2, 3, True),
        call(Get(), 4, 5, A),
    ],
    "two deletes of one key": [
        call(Set(A), 0, 1),
        call(Delete(), 2, 4, True),
        call(Delete(), 3, 5, True),
    ],
    "a conditional delete beside a write that won": [
        call(Set(A), 0, 1),
        call(CompareAndDelete(A), 2, 4, True),
        call(CompareAndSet(A, B), 3, 5, True),
    ],
    "a key that exists and was never written": [call(Exists(), 0, 1, True)],
    # What was refused is not in a history: so it reads as never written.
    "a refused write that took effect": [call(Get(), 2, 3, A)],
    "an acknowledged write that is lost": [call(Set(A), 0, 1), call(Get(), 2, 3, None)],
    "a lost increment": [
        call(Increment(1), 0, 2, 1),
        call(Increment(1), 1, 3, 1),
    ],
    "a number where there was an empty value": [
        call(Set(b""), 0, 1),
        call(Increment(1), 2, 3, 1),
    ],
    "a number where none was canonical": [
        call(Set(b"007"), 0, 1),
        call(Increment(1), 2, 3, 8),
    ],
    "a number that no integer of 64 bits holds": [
        call(Increment(2**63 - 1), 0, 1, 2**63 - 1),
        call(Increment(1), 2, 3, 2**63),
    ],
    "an open write that took effect before it was made": [
        call(Get(), 0, 1, A),
        opened(Set(A), 2),
    ],
    "an open write that took effect twice": [
        opened(Set(A), 0),
        call(Get(), 1, 2, A),
        call(Delete(), 3, 4, True),
        call(Get(), 5, 6, A),
    ],
}

EXPLAINED = {
    "nothing": [],
    "a read of either of two writes at once": [
        call(Set(A), 0, 3),
        call(Set(B), 1, 2),
        call(Get(), 4, 5, A),
    ],
    "a read that overlaps the write": [call(Set(A), 0, 3), call(Get(), 1, 2, A)],
    "a timeout that took effect late": [
        opened(Set(A), 0),
        call(Get(), 1, 2, None),
        call(Get(), 3, 4, A),
    ],
    "a timeout that never took effect": [opened(Set(A), 0), call(Get(), 1, 2, None)],
    "a timeout seen through its effect alone": [
        opened(Set(A), 0),
        call(Delete(), 1, 2, True),
    ],
    "a write of something that is there already": [
        call(Set(A), 0, 1),
        call(Set(B), 2, 9),
        call(Delete(), 3, 4, True),
        call(Exists(), 5, 6, True),
    ],
    "increments in the order of their numbers": [
        call(Increment(1), 0, 3, 2),
        call(Increment(1), 1, 2, 1),
        opened(Increment(5), 3),
        call(Increment(1), 4, 5, 8),
    ],
}


@pytest.mark.parametrize("history", VIOLATIONS.values(), ids=VIOLATIONS)
def test_a_planted_violation_is_found(history: list[Call]) -> None:
    assert not by_force(history)
    assert violation(history) is not None


@pytest.mark.parametrize("history", EXPLAINED.values(), ids=EXPLAINED)
def test_what_has_an_order_is_explained(history: list[Call]) -> None:
    assert by_force(history)
    assert violation(history) is None


@given(
    seed=st.integers(0, 1 << 32), callers=st.integers(1, 12), open_rate=st.sampled_from([0, 0.1])
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_linearizable_history_always_passes(seed: int, callers: int, open_rate: float) -> None:
    history = linearizable(random.Random(seed), callers=callers, calls=120, open_rate=open_rate)
    assert violation(history) is None


@given(seed=st.integers(0, 1 << 32), callers=st.integers(1, 4), calls=st.integers(2, 7))
@settings(max_examples=400, deadline=None, derandomize=True)
def test_a_damaged_history_is_judged_as_by_force(seed: int, callers: int, calls: int) -> None:
    chance = random.Random(seed)
    history = linearizable(chance, callers=callers, calls=max(calls, callers), open_rate=0.15)
    damaged = [_damaged(each, chance, history) for each in history]
    assert (violation(damaged) is None) is by_force(damaged)


def _damaged(each: Call, chance: random.Random, history: list[Call]) -> Call:
    if each.is_open or chance.random() < 0.6:
        return each
    if isinstance(each.result, bool):
        return each._replace(result=not each.result)
    if isinstance(each.action, Get):
        seen = [other.result for other in history if isinstance(other.action, Get)]
        return each._replace(result=chance.choice([None, *seen]))
    return each


def test_thousands_of_calls_by_twenty_callers_are_checked_at_once() -> None:
    history = linearizable(random.Random(1), callers=20, calls=4000, open_rate=0.02)
    assert violation(history, limit=20_000) is None


def test_a_stale_read_among_thousands_of_calls_is_found() -> None:
    history = linearizable(random.Random(2), callers=12, calls=3000, reads=0.6)
    reads = [at for at, each in enumerate(history) if isinstance(each.action, Get)]
    early = next(history[at].result for at in reads if history[at].result is not None)
    history[reads[-1]] = history[reads[-1]]._replace(result=early)
    found = violation(history)
    assert found is not None
    assert found.call.result == early


def test_hundreds_of_writes_that_timed_out_do_not_explode() -> None:
    timeouts: list[Call] = []
    for turn in range(400):
        action = Delete() if turn % 3 == 0 else Set(b"lost %d" % turn)
        timeouts.append(opened(action, turn / 10))
    history = [*timeouts, call(Set(A), 50, 51), call(Get(), 52, 53, A)]
    assert violation(history, limit=10_000) is None
    assert violation([*history, call(Get(), 54, 55, b"nobody's")], limit=10_000) is not None


def test_an_explanation_names_the_call_its_surroundings_and_what_was_possible() -> None:
    found = violation(VIOLATIONS["a stale read"])
    assert found is not None
    text = str(found)
    assert "explains the result of caller 4" in text
    assert "could only have held b'b'" in text
    assert "written earlier and replaced since" in text
    assert sum(line.startswith(">") for line in text.splitlines()) == 1


def test_a_violation_is_reported_with_its_key() -> None:
    with pytest.raises(AssertionError, match="the history of 'bad' is not linearizable"):
        check({"good": EXPLAINED["nothing"], "bad": VIOLATIONS["a stale read"]})


def test_a_search_that_takes_too_long_says_so() -> None:
    history = linearizable(random.Random(3), callers=10, calls=500)
    with pytest.raises(Undecided):
        violation(history, limit=3)
