"""Is there one order of the calls on a key that explains every result?

The search of Wing and Gong, with Lowe's memory of where it has been: try the calls
that could come next, one after another, and go back where none fits. The keys of a
store are independent, so each is checked alone (linearizability is local).

Where the search stands is a point in time and, around it, which of the calls in
flight have taken effect; that is n·2^c places at worst, for n calls by c callers
at once. What keeps it near n in practice:

- a call that fits and changes nothing takes effect at once, and is no choice;
- a value is not overwritten while somebody has yet to read it, nor by another than
  the caller who compared with it and won;
- values that nobody ever saw are one value, and of calls that ask and answer the
  same, the one that must return first goes first;
- of two ways to the same place, the one that used fewer open calls can do whatever
  the other can: a hundred writes that timed out are no 2^100.

J. Wing, C. Gong: Testing and verifying concurrent objects (1993).
G. Lowe: Testing for linearizability (2017).
"""

from __future__ import annotations

from collections.abc import Iterator
from operator import le
from typing import NamedTuple, TypeAlias

from prism.testing.suite.histories.actions import Action, Set, Value
from prism.testing.suite.histories.calls import History
from prism.testing.suite.histories.problem import Problem

LIMIT = 200_000
"""Places, after which a search gives up: some ten seconds of it."""


class Undecided(Exception):
    """The search took too long: make the history shorter, or its callers fewer."""


class _Place(NamedTuple):
    """Where a search stands.

    Attributes:
        first: the first call, in order of return, that has not taken effect.
        ahead: which ones after it have: bit i is the call first + i.
        state: what the key holds.
    """

    first: int
    ahead: int
    state: Value

    def has(self, index: int) -> bool:
        """Whether that call has taken effect."""
        return index < self.first or bool(self.ahead >> (index - self.first) & 1)

    def after(self, index: int, state: Value) -> _Place:
        """Where it stands once that call has."""
        first, ahead = self.first, self.ahead | 1 << (index - self.first)
        while ahead & 1:
            first, ahead = first + 1, ahead >> 1
        return _Place(first, ahead, state)


_Used: TypeAlias = tuple[int, ...]
"""How many open calls of each kind have taken effect."""


class _Memory:
    """Where a search has been, and with which fewest open calls."""

    def __init__(self, limit: int) -> None:
        self._been: dict[_Place, list[_Used]] = {}
        self._left = limit

    def is_new(self, place: _Place, used: _Used) -> bool:
        """Whether nothing as good was there before; it is remembered."""
        ways = self._been.setdefault(place, [])
        if any(all(map(le, way, used)) for way in ways):
            return False
        ways.append(used)
        self._left -= 1
        if self._left < 0:
            raise Undecided("no order was found, and not every one was tried")
        return True


def is_linearizable(history: History, *, limit: int = LIMIT) -> bool:
    """Whether one order explains the history of a key that was absent at first.

    Args:
        limit: places to search.

    Raises:
        Undecided: the limit is reached.
    """
    problem = Problem.of(history)
    end = len(problem.calls)
    memory = _Memory(limit)
    stack = [(_Place(0, 0, None), (0,) * len(problem.open_kinds))]
    while stack:
        place, used = stack.pop()
        place = _settled(problem, place)
        if place.first == end:
            return True
        if not memory.is_new(place, used):
            continue
        if not problem.is_awaited(place.state, place.first, place.ahead):
            # The likeliest is pushed last, and so tried first.
            stack += _by_open_calls(problem, place, used)
            stack += [(following, used) for following in _by_calls(problem, place)]
    return False


def _settled(problem: Problem, place: _Place) -> _Place:
    """Let every call take effect that fits here and could change nothing anywhere."""
    moved = True
    while moved and place.first < len(problem.calls):
        moved = False
        for index in problem.next_after[place.first]:
            call = problem.calls[index]
            if place.has(index) or isinstance(call.action, Set):
                continue
            if call.action.after(place.state) == (call.result, place.state):
                place, moved = place.after(index, place.state), True
    return place


def _by_calls(problem: Problem, place: _Place) -> list[_Place]:
    """The places one call further on."""
    tried: set[tuple[Action, object]] = set()
    following = []
    successor = problem.successor.get(place.state)
    for index in problem.next_after[place.first]:
        call = problem.calls[index]
        if place.has(index) or (call.action, call.result) in tried:
            continue
        if successor is not None and index != successor and not place.has(successor):
            continue
        result, state = call.action.after(place.state)
        if result == call.result:
            tried.add((call.action, call.result))
            following.append(place.after(index, state))
    following.reverse()
    return following


def _by_open_calls(problem: Problem, place: _Place, used: _Used) -> Iterator[tuple[_Place, _Used]]:
    """The places one open call further on."""
    successor = problem.successor.get(place.state)
    if successor is not None and not place.has(successor):
        return
    latest = problem.calls[place.first].returned
    for kind, (action, invoked) in enumerate(problem.open_kinds):
        count = used[kind]
        if count < len(invoked) and invoked[count] <= latest:
            _, state = action.after(place.state)
            if state != place.state:
                more = (*used[:kind], count + 1, *used[kind + 1 :])
                yield place._replace(state=state), more
