"""A history made ready to be searched."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from prism.testing.suite.histories.actions import (
    Action,
    CompareAndDelete,
    CompareAndSet,
    Get,
    Increment,
    Set,
    Value,
)
from prism.testing.suite.histories.calls import Call, History


@dataclass(frozen=True, slots=True)
class Problem:
    """What the search looks up at every step.

    Attributes:
        calls: those that returned, in order of return.
        next_after: for each call, those that may take effect while it has not: made
            before it returned, and not returned before it.
        open_kinds: what open calls ask, and when each was made, in order.
        readers: of a value that was written once: the reads that saw it.
        successor: of a value that was written once: the call that compared and won.
    """

    calls: Sequence[Call]
    next_after: Sequence[Sequence[int]]
    open_kinds: Sequence[tuple[Action, Sequence[float]]]
    readers: Mapping[Value, Sequence[int]]
    successor: Mapping[Value, int]

    @classmethod
    def of(cls, history: History) -> Problem:
        same = _unseen(history)
        plain = [call._replace(action=_merged(call.action, same)) for call in history]
        calls = sorted((call for call in plain if not call.is_open), key=lambda c: c.returned)
        kinds: defaultdict[Action, list[float]] = defaultdict(list)
        for call in sorted((call for call in plain if call.is_open), key=lambda c: c.invoked):
            kinds[call.action].append(call.invoked)
        once = _written_once(plain)
        return cls(
            calls,
            _next_after(calls),
            list(kinds.items()),
            _readers(calls, once),
            _successors(calls, once),
        )

    def is_awaited(self, state: Value, first: int, ahead: int) -> bool:
        """Whether a read has yet to see this state, which will never come back."""
        for index in reversed(self.readers.get(state, ())):
            if index < first:
                return False
            if not ahead >> (index - first) & 1:
                return True
        return False


def _next_after(calls: Sequence[Call]) -> list[tuple[int, ...]]:
    by_invocation = sorted(range(len(calls)), key=lambda index: calls[index].invoked)
    made: dict[int, None] = {}
    following, taken = [], 0
    for index, call in enumerate(calls):
        while taken < len(calls) and calls[by_invocation[taken]].invoked <= call.returned:
            made[by_invocation[taken]] = None
            taken += 1
        following.append(tuple(sorted(made)))
        del made[index]
    return following


def _unseen(history: History) -> set[bytes]:
    """Values that were written, and that no result and no comparison ever shows."""
    written, seen = set(), set[object]()
    for call in history:
        match call.action:
            case Increment():
                return set()
            case Set(value):
                written.add(value)
            case CompareAndSet(expected, value):
                written.add(value)
                seen.add(expected)
            case CompareAndDelete(expected):
                seen.add(expected)
            case Get():
                seen.add(call.result)
    return {value for value in written if value not in seen}


def _merged(action: Action, same: set[bytes]) -> Action:
    if isinstance(action, Set | CompareAndSet) and action.value in same:
        return replace(action, value=next(iter(same)))
    return action


def _written_once(history: History) -> set[Value]:
    """Values that the key holds for one stretch of time at most."""
    if any(isinstance(call.action, Increment) for call in history):
        return set()
    writes = Counter[Value](
        call.action.value for call in history if isinstance(call.action, Set | CompareAndSet)
    )
    return {value for value, count in writes.items() if count == 1}


def _readers(calls: Sequence[Call], once: set[Value]) -> dict[Value, list[int]]:
    readers: defaultdict[Value, list[int]] = defaultdict(list)
    for index, call in enumerate(calls):
        if isinstance(call.action, Get) and isinstance(call.result, bytes) and call.result in once:
            readers[call.result].append(index)
    return readers


def _successors(calls: Sequence[Call], once: set[Value]) -> dict[Value, int]:
    return {
        call.action.expected: index
        for index, call in enumerate(calls)
        if isinstance(call.action, CompareAndSet | CompareAndDelete)
        and call.result is True
        and call.action.expected in once
    }
