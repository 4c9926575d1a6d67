"""Checks histories for linearizability, and explains the first violation."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prism.testing.suite.histories.history import (
    NEVER,
    UNKNOWN,
    Call,
    CompareAndSet,
    Get,
    History,
    Set,
    Value,
    shown,
)
from prism.testing.suite.histories.search import MAX_POSITIONS, is_linearizable

_EARLIER_SHOWN = 6
"""Number of earlier calls that an explanation shows."""


def check(histories: Mapping[str, History]) -> None:
    """Check the history of every key.

    Raises:
        AssertionError: a history is not linearizable; the message names the key and
            explains the violation.
    """
    for key, history in histories.items():
        found = violation(history)
        assert found is None, f"the history of {key!r} is not linearizable: {found}"


def violation(history: History, *, limit: int = MAX_POSITIONS) -> Violation | None:
    """Return the first call that no order explains; None if the history is linearizable.

    Args:
        history: calls on one key that was absent at first.
        limit: number of positions to search at most.

    Raises:
        Undecided: the limit was reached.
    """
    if is_linearizable(history, limit=limit):
        return None
    ordered = sorted(history, key=lambda call: call.returned)
    returned = [call for call in ordered if not call.is_open]
    # A history that no order explains stays unexplained with later calls added, so the
    # first wrong call can be found by bisection.
    first_wrong = bisect_left(
        range(len(returned)),
        True,
        key=lambda at: not is_linearizable(_known_at(ordered, returned[at].returned), limit=limit),
    )
    culprit = returned[first_wrong]
    before = [call for call in _known_at(ordered, culprit.returned) if call != culprit]
    window = _window_around(history, culprit)
    written = [
        call.action.value
        for call in window
        if isinstance(call.action, Set | CompareAndSet) and call != culprit
    ]
    candidates: list[Value] = [None, *written]
    possible = [
        value
        for value in candidates
        if is_linearizable([*before, culprit._replace(action=Get(), result=value)], limit=limit)
    ]
    return Violation(culprit, possible, window)


def _known_at(ordered: History, moment: float) -> list[Call]:
    """Return the history as known at that time: writes in flight have an unknown result."""
    known: list[Call] = []
    for call in ordered:
        if call.returned <= moment:
            known.append(call)
        elif call.invoked <= moment and call.action.writes:
            known.append(call._replace(returned=NEVER, result=UNKNOWN))
    return known


@dataclass(frozen=True, slots=True)
class Violation:
    """First call that no order explains.

    The calls that returned before it can be put in an order; with this call they cannot.

    Attributes:
        call: the call that cannot be explained.
        possible: values that the key could have held at the time of the call.
        window: calls that overlap it, the last ones before it, and the writes of the value
            that it read.
    """

    call: Call
    possible: Sequence[Value]
    window: History

    def __str__(self) -> str:
        since = min(call.invoked for call in self.window)
        held = " or ".join(shown(value) for value in self.possible)
        lines = [f"{'>' if call == self.call else ' '} {call.line(since)}" for call in self.window]
        return "\n".join(
            [
                f"no order of the calls explains the result of {self.call.caller}",
                f"the key could only have held {held}{self._note()}",
                *lines,
            ]
        )

    def _note(self) -> str:
        if not isinstance(self.call.action, Get) or self.call.result is None:
            return ""
        sources = [each for each in self.window if _wrote_result_of(self.call, each)]
        if not sources:
            return "; the value that was read was never written"
        if all(each.invoked > self.call.returned for each in sources):
            return "; the value that was read was written only later"
        return "; the value that was read was written earlier and replaced since"


def _window_around(history: History, call: Call) -> History:
    """Return the calls that a reader needs to see, in order of invocation."""
    overlapping = [
        each
        for each in history
        if each.invoked <= call.returned and each.returned >= call.invoked and not each.is_open
    ]
    earlier = sorted(
        (each for each in history if each.returned < call.invoked), key=lambda each: each.returned
    )
    sources = [each for each in history if _wrote_result_of(call, each)]
    window = dict.fromkeys([*overlapping, *earlier[-_EARLIER_SHOWN:], *sources])
    return sorted(window, key=lambda each: each.invoked)


def _wrote_result_of(read: Call, other: Call) -> bool:
    """Return whether the other call wrote the value that this call read."""
    if not isinstance(read.action, Get) or read.result is None:
        return False
    return isinstance(other.action, Set | CompareAndSet) and other.action.value == read.result
