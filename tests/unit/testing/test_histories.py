"""The history checker: planted violations, simulated histories, and every order tried."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prism.testing.suite.histories import (
    NEVER,
    UNKNOWN,
    Action,
    Call,
    ChangeTtl,
    CompareAndDelete,
    CompareAndSet,
    Delete,
    Exists,
    Get,
    History,
    Increment,
    Set,
    Undecided,
    Value,
    check,
    violation,
)


def linearizable(
    chance: random.Random,
    *,
    callers: int,
    calls: int,
    open_rate: float = 0.0,
    reads: float = 0.5,
    increments: float = 0.0,
) -> list[Call]:
    """Simulate calls that each take effect at one moment between request and reply.

    Increments make numbers that other calls write too. Of the open calls, half never take
    effect, and the others possibly long afterwards.
    """
    planned: list[tuple[float, float, float, str, bool]] = []
    for number in range(callers):
        now = chance.random()
        for _ in range(calls // callers):
            begin = now + chance.expovariate(2)
            end = begin + chance.expovariate(1)
            is_open = chance.random() < open_rate
            late = chance.expovariate(0.2) if is_open else 0.0
            planned.append(
                (chance.uniform(begin, end) + late, begin, end, f"caller {number}", is_open)
            )
            now = end
    state: Value = None
    history, written = [], [b"never"]
    for turn, (_, begin, end, caller, is_open) in enumerate(sorted(planned)):
        if chance.random() < increments:
            action: Action = Increment(chance.choice([1, 2, -1]))
        else:
            action = _any_action(chance, turn, state, written, reads)
        if is_open and not action.writes:
            continue
        if is_open and chance.random() < 0.5:
            history.append(Call(caller, action, begin, NEVER, UNKNOWN))
            continue
        result, state = action.apply(state)
        if is_open:
            history.append(Call(caller, action, begin, NEVER, UNKNOWN))
        else:
            history.append(Call(caller, action, begin, end, result))
    return history


def _any_action(
    chance: random.Random, turn: int, state: Value, written: list[bytes], reads: float
) -> Action:
    if chance.random() < reads:
        kind = chance.random()
        return Get() if kind < 0.8 else Exists() if kind < 0.9 else ChangeTtl("persist")
    value = b"%d" % turn
    expected = state if chance.random() < 0.5 else chance.choice([None, *written[-4:]])
    kind = chance.random()
    if kind < 0.5:
        action: Action = Set(value)
    elif kind < 0.65:
        action = Delete()
    elif kind < 0.9 or expected is None:
        action = CompareAndSet(expected, value)
    else:
        action = CompareAndDelete(expected)
    if isinstance(action, Set | CompareAndSet):
        written.append(value)
    return action


def any_order_explains(history: History) -> bool:
    """Return whether any order explains the history, by trying every order."""
    known = [call for call in history if not call.is_open]
    opened = [call for call in history if call.is_open]
    for chosen in range(1 << len(opened)):
        taken = [call for bit, call in enumerate(opened) if chosen >> bit & 1]
        if any(_explains(order) for order in permutations([*known, *taken])):
            return True
    return False


def _explains(order: Sequence[Call]) -> bool:
    state: Value = None
    latest = float("-inf")
    for call in order:
        # A call must not come after one that was invoked only after it had returned.
        if call.returned < latest:
            return False
        latest = max(latest, call.invoked)
        result, state = call.action.apply(state)
        if not call.is_open and result != call.result:
            return False
    return True


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
    "a value that was never written": [call(Set(A), 0, 1), call(Get(), 2, 3, B)],
    "a value from the future": [call(Get(), 0, 1, A), call(Set(A), 2, 3)],
    "a read that goes back in time": [
        call(Set(A), 0, 1),
        call(Set(B), 2, 9),
        call(Get(), 3, 4, B),
        call(Get(), 5, 6, A),
    ],
    "two compare-and-sets that succeeded on one version": [
        call(Set(A), 0, 1),
        call(CompareAndSet(A, B), 2, 5, True),
        call(CompareAndSet(A, C), 3, 4, True),
    ],
    "two compare-and-sets that created one key": [
        call(CompareAndSet(None, A), 0, 2, True),
        call(CompareAndSet(None, B), 1, 3, True),
    ],
    "a compare-and-set that succeeded on a replaced value": [
        call(Set(A), 0, 1),
        call(Set(B), 2, 3),
        call(CompareAndSet(A, C), 4, 5, True),
    ],
    "a compare-and-set that failed on the current value": [
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
    "a conditional delete and a compare-and-set that both succeeded": [
        call(Set(A), 0, 1),
        call(CompareAndDelete(A), 2, 4, True),
        call(CompareAndSet(A, B), 3, 5, True),
    ],
    "a key that exists but was never written": [call(Exists(), 0, 1, True)],
    # A refused write is not in the history, so its value was never written.
    "a refused write that took effect": [call(Get(), 2, 3, A)],
    "an acknowledged write that is lost": [call(Set(A), 0, 1), call(Get(), 2, 3, None)],
    "a lost increment": [
        call(Increment(1), 0, 2, 1),
        call(Increment(1), 1, 3, 1),
    ],
    "a number from an empty value": [
        call(Set(b""), 0, 1),
        call(Increment(1), 2, 3, 1),
    ],
    "a number from a value that is not canonical": [
        call(Set(b"007"), 0, 1),
        call(Increment(1), 2, 3, 8),
    ],
    "a number outside int64": [
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
    "a timed-out write that took effect late": [
        opened(Set(A), 0),
        call(Get(), 1, 2, None),
        call(Get(), 3, 4, A),
    ],
    "a timed-out write that never took effect": [opened(Set(A), 0), call(Get(), 1, 2, None)],
    "a timed-out write visible only through its effect": [
        opened(Set(A), 0),
        call(Delete(), 1, 2, True),
    ],
    "a delete between two writes": [
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
    assert not any_order_explains(history)
    assert violation(history) is not None


@pytest.mark.parametrize("history", EXPLAINED.values(), ids=EXPLAINED)
def test_a_history_with_an_order_has_no_violation(history: list[Call]) -> None:
    assert any_order_explains(history)
    assert violation(history) is None


@given(
    seed=st.integers(0, 1 << 32), callers=st.integers(1, 12), open_rate=st.sampled_from([0, 0.1])
)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_a_linearizable_history_has_no_violation(seed: int, callers: int, open_rate: float) -> None:
    history = linearizable(random.Random(seed), callers=callers, calls=120, open_rate=open_rate)
    assert violation(history) is None


@given(
    seed=st.integers(0, 1 << 32),
    callers=st.integers(1, 4),
    calls=st.integers(2, 7),
    increments=st.sampled_from([0, 0.4]),
)
@settings(max_examples=600, deadline=None, derandomize=True)
def test_a_damaged_history_is_judged_like_by_trying_every_order(
    seed: int, callers: int, calls: int, increments: float
) -> None:
    chance = random.Random(seed)
    history = linearizable(
        chance,
        callers=callers,
        calls=max(calls, callers),
        open_rate=0.15 if chance.random() < 0.5 else 0,
        increments=increments,
    )
    damaged = [_damaged(each, chance, history) for each in history]
    assert (violation(damaged) is None) is any_order_explains(damaged)


def _damaged(each: Call, chance: random.Random, history: list[Call]) -> Call:
    if each.is_open or chance.random() < 0.6:
        return each
    if isinstance(each.result, bool):
        return each._replace(result=not each.result)
    if isinstance(each.action, Increment) and isinstance(each.result, int):
        return each._replace(result=each.result + chance.choice([-1, 1]))
    if isinstance(each.action, Get):
        seen = [other.result for other in history if isinstance(other.action, Get)]
        return each._replace(result=chance.choice([None, *seen]))
    return each


def test_thousands_of_calls_by_twenty_callers_are_checked_quickly() -> None:
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


def test_hundreds_of_timed_out_writes_are_checked_quickly() -> None:
    timeouts: list[Call] = []
    for turn in range(400):
        action = Delete() if turn % 3 == 0 else Set(b"lost %d" % turn)
        timeouts.append(opened(action, turn / 10))
    history = [*timeouts, call(Set(A), 50, 51), call(Get(), 52, 53, A)]
    assert violation(history, limit=10_000) is None
    assert violation([*history, call(Get(), 54, 55, b"never written")], limit=10_000) is not None


def test_a_violation_names_the_call_its_context_and_the_possible_values() -> None:
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


def test_a_search_over_its_limit_is_undecided() -> None:
    history = linearizable(random.Random(3), callers=10, calls=500)
    with pytest.raises(Undecided):
        violation(history, limit=3)
