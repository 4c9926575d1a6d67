"""Checks histories, and says of one that no order explains where it stops making sense."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

from prism.testing.suite.histories.actions import CompareAndSet, Get, Set, Value
from prism.testing.suite.histories.calls import NEVER, UNKNOWN, Call, History
from prism.testing.suite.histories.explain import Violation, surroundings
from prism.testing.suite.histories.search import LIMIT, is_linearizable


def check(histories: Mapping[str, History]) -> None:
    """Check every key; raises AssertionError naming the key and what is wrong."""
    for key, history in histories.items():
        found = violation(history)
        assert found is None, f"the history of {key!r} is not linearizable: {found}"


def violation(history: History, *, limit: int = LIMIT) -> Violation | None:
    """The first call that nothing explains; None: the history is linearizable.

    Args:
        limit: places to search before it gives up.

    Raises:
        Undecided: the limit is reached.
    """
    if is_linearizable(history, limit=limit):
        return None
    ordered = sorted(history, key=lambda call: call.returned)
    returned = [call for call in ordered if not call.is_open]
    # Once no order explains what was known at a time, none explains more.
    wrong = bisect_left(
        range(len(returned)),
        True,
        key=lambda at: not is_linearizable(_until(ordered, returned[at].returned), limit=limit),
    )
    culprit = returned[wrong]
    before = [call for call in _until(ordered, culprit.returned) if call != culprit]
    window = surroundings(history, culprit)
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


def _until(ordered: History, moment: float) -> list[Call]:
    """What was known then: calls in flight may have had an effect, or not yet."""
    known: list[Call] = []
    for call in ordered:
        if call.returned <= moment:
            known.append(call)
        elif call.invoked <= moment and call.action.writes:
            known.append(call._replace(returned=NEVER, result=UNKNOWN))
    return known
