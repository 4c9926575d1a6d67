"""Search for one order of the calls on a key that explains every result.

This is the search of Wing and Gong with Lowe's cache: try each call that could come next,
and go back where none fits. The keys of a store are independent, so each history is checked
alone (linearizability is local).

A position of the search is a point in time plus the set of calls in flight that have taken
effect. There are n·2^c positions at worst, for n calls by c concurrent callers. These rules
keep the number near n in practice:

- A call that fits and changes nothing takes effect at once; no alternative is tried.
- A value is not overwritten while a read of it is still due, and only by the call that
  compared with it and succeeded.
- Values that were never read count as one value. Of calls with the same action and result,
  the one that must return first goes first.
- Of two routes to one position, the route that used fewer open calls can do everything that
  the other can: a hundred writes that timed out do not give 2^100 positions.

J. Wing, C. Gong: Testing and verifying concurrent objects (1993).
G. Lowe: Testing for linearizability (2017).
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import le
from typing import NamedTuple, TypeAlias

from prism.testing.suite.histories.history import (
    Action,
    Call,
    CompareAndDelete,
    CompareAndSet,
    Get,
    History,
    Increment,
    Set,
    Value,
)

MAX_POSITIONS = 200_000
"""Positions after which a search gives up: about ten seconds."""


class Undecided(Exception):
    """The search took too long: record fewer calls, or use fewer callers."""


def is_linearizable(history: History, *, limit: int = MAX_POSITIONS) -> bool:
    """Return whether one order explains the history of a key that was absent at first.

    Args:
        history: calls on one key.
        limit: number of positions to search at most.

    Raises:
        Undecided: the limit was reached.
    """
    problem = _Problem.of(history)
    end = len(problem.calls)
    visited = _Visited(limit)
    stack = [(_Position(0, 0, None), (0,) * len(problem.open_kinds))]
    while stack:
        position, used = stack.pop()
        position = _apply_calls_without_effect(problem, position)
        if position.first == end:
            return True
        if not visited.add(position, used):
            continue
        if not problem.has_pending_read(position):
            # The likeliest call is pushed last, so it is tried first.
            stack += _after_open_calls(problem, position, used)
            stack += [(following, used) for following in _after_calls(problem, position)]
    return False


class _Position(NamedTuple):
    """Position of the search.

    Attributes:
        first: index of the first call, in order of return, that has not taken effect.
        applied: bit set of later calls that have: bit i stands for call first + i.
        state: what the key holds.
    """

    first: int
    applied: int
    state: Value

    def has(self, index: int) -> bool:
        """Return whether this call has taken effect."""
        return index < self.first or bool(self.applied >> (index - self.first) & 1)

    def after(self, index: int, state: Value) -> _Position:
        """Return the position once this call has taken effect and led to this state."""
        first, applied = self.first, self.applied | 1 << (index - self.first)
        while applied & 1:
            first, applied = first + 1, applied >> 1
        return _Position(first, applied, state)


_Used: TypeAlias = tuple[int, ...]
"""Number of open calls of each kind that have taken effect."""


class _Visited:
    """Positions that the search has been at, with the fewest open calls that led there."""

    def __init__(self, limit: int) -> None:
        self._visited: dict[_Position, list[_Used]] = {}
        self._remaining = limit

    def add(self, position: _Position, used: _Used) -> bool:
        """Add the position; return False if it was reached before with no more open calls."""
        routes = self._visited.setdefault(position, [])
        if any(all(map(le, route, used)) for route in routes):
            return False
        routes.append(used)
        self._remaining -= 1
        if self._remaining < 0:
            raise Undecided("no order was found within the limit, and not every order was tried")
        return True


@dataclass(frozen=True, slots=True)
class _Problem:
    """History prepared for the search.

    Attributes:
        calls: calls with a known result, in order of return.
        next_after: for each call, the calls that may take effect while it has not: invoked
            before it returned, and not returned before it.
        open_kinds: actions of open calls, each with its times of invocation in order.
        readers: for a value that was written once, the reads that returned it.
        successor: for a value that was written once, the call that compared with it and
            succeeded, or the increment that started from it.
    """

    calls: Sequence[Call]
    next_after: Sequence[Sequence[int]]
    open_kinds: Sequence[tuple[Action, Sequence[float]]]
    readers: Mapping[Value, Sequence[int]]
    successor: Mapping[Value, int]

    @classmethod
    def of(cls, history: History) -> _Problem:
        unread = _unread_values(history)
        plain = [call._replace(action=_with_unread_merged(call.action, unread)) for call in history]
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

    def has_pending_read(self, position: _Position) -> bool:
        """Return whether a read of this state, which never comes back, is still due."""
        for index in reversed(self.readers.get(position.state, ())):
            if index < position.first:
                return False
            if not position.has(index):
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


def _unread_values(history: History) -> set[bytes]:
    """Return the values that were written but that no result and no comparison shows."""
    written, seen = set(), set[object]()
    for call in history:
        match call.action:
            case Increment(delta):
                if not isinstance(call.result, int):
                    # Which values it found, or whether it found one at all, is unknown.
                    return set()
                seen.add(b"%d" % (call.result - delta))
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


def _with_unread_merged(action: Action, unread: set[bytes]) -> Action:
    """Return the action with one value in place of all values that were never read."""
    if isinstance(action, Set | CompareAndSet) and action.value in unread:
        return replace(action, value=next(iter(unread)))
    return action


def _written_once(history: History) -> set[Value]:
    """Return the values that the key can have held during one period at most."""
    writes = Counter[Value]()
    for call in history:
        match call.action:
            case Set(value) | CompareAndSet(_, value):
                writes[value] += 1
            case Increment():
                if call.is_open:
                    return set()
                if isinstance(call.result, int):
                    writes[b"%d" % call.result] += 1
            case _:
                pass
    return {value for value, count in writes.items() if count == 1}


def _readers(calls: Sequence[Call], once: set[Value]) -> dict[Value, list[int]]:
    readers: defaultdict[Value, list[int]] = defaultdict(list)
    for index, call in enumerate(calls):
        if isinstance(call.action, Get) and isinstance(call.result, bytes) and call.result in once:
            readers[call.result].append(index)
    return readers


def _successors(calls: Sequence[Call], once: set[Value]) -> dict[Value, int]:
    """Return for each of these values the call that found it and replaced it."""
    successors: dict[Value, int] = {}
    for index, call in enumerate(calls):
        match call.action:
            case CompareAndSet(expected, _) | CompareAndDelete(expected) if call.result is True:
                found: Value = expected
            case Increment(delta) if isinstance(call.result, int) and call.result != delta != 0:
                # From 0 it may be that the key was absent.
                found = b"%d" % (call.result - delta)
            case _:
                continue
        if found in once:
            successors[found] = index
    return successors


def _apply_calls_without_effect(problem: _Problem, position: _Position) -> _Position:
    """Apply every call that fits here and could not change the state anywhere."""
    moved = True
    while moved and position.first < len(problem.calls):
        moved = False
        for index in problem.next_after[position.first]:
            call = problem.calls[index]
            if position.has(index) or isinstance(call.action, Set):
                continue
            if call.action.apply(position.state) == (call.result, position.state):
                position, moved = position.after(index, position.state), True
    return position


def _after_calls(problem: _Problem, position: _Position) -> list[_Position]:
    """Return the positions one call further on."""
    tried: set[tuple[Action, object]] = set()
    following = []
    successor = problem.successor.get(position.state)
    for index in problem.next_after[position.first]:
        call = problem.calls[index]
        if position.has(index) or (call.action, call.result) in tried:
            continue
        if successor is not None and index != successor and not position.has(successor):
            continue
        result, state = call.action.apply(position.state)
        if result == call.result:
            tried.add((call.action, call.result))
            following.append(position.after(index, state))
    following.reverse()
    return following


def _after_open_calls(
    problem: _Problem, position: _Position, used: _Used
) -> Iterator[tuple[_Position, _Used]]:
    """Yield the positions one open call further on."""
    successor = problem.successor.get(position.state)
    if successor is not None and not position.has(successor):
        return
    latest = problem.calls[position.first].returned
    for kind, (action, invoked) in enumerate(problem.open_kinds):
        count = used[kind]
        if count < len(invoked) and invoked[count] <= latest:
            _, state = action.apply(position.state)
            if state != position.state:
                more = (*used[:kind], count + 1, *used[kind + 1 :])
                yield position._replace(state=state), more
