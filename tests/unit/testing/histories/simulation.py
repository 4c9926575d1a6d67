"""Histories that are linearizable because they were made so, and small ones decided by force."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import permutations

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
    History,
    Set,
    Value,
)


def linearizable(
    chance: random.Random, *, callers: int, calls: int, open_rate: float = 0.0, reads: float = 0.5
) -> list[Call]:
    """Calls that each took effect at one moment between its beginning and its end.

    Of the open ones, half never did, and the others possibly long afterwards.
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
        action = _any_action(chance, turn, state, written, reads)
        if is_open and isinstance(action, Get | Exists):
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
        return Get() if chance.random() < 0.8 else Exists()
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


def by_force(history: History) -> bool:
    """Whether any order at all explains the history: tries them all."""
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
        # None may come after one that was made only when it had returned.
        if call.returned < latest:
            return False
        latest = max(latest, call.invoked)
        result, state = call.action.apply(state)
        if not call.is_open and result != call.result:
            return False
    return True
