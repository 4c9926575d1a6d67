"""What a reader gets to see of a history that no order explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prism.testing.suite.histories.actions import CompareAndSet, Get, Set, Value, shown
from prism.testing.suite.histories.calls import Call, History

_EARLIER = 6
"""Calls before the window that are shown."""


@dataclass(frozen=True, slots=True)
class Violation:
    """The first call that cannot be explained, and what surrounds it.

    Everything that returned before it can be put in an order; with it, nothing can.

    Attributes:
        possible: what the key could have held when it was made.
        window: the calls that overlap it, the last ones before, and the source of
            what it saw.
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
                f"no order of the calls explains what {self.call.caller} was answered",
                f"the key could only have held {held}{self._note()}",
                *lines,
            ]
        )

    def _note(self) -> str:
        if not isinstance(self.call.action, Get) or self.call.result is None:
            return ""
        source = [each for each in self.window if _wrote(each, self.call)]
        if not source:
            return "; nobody wrote what was read"
        if all(each.invoked > self.call.returned for each in source):
            return "; what was read was written only afterwards"
        return "; what was read was written earlier, and something came after it"


def surroundings(history: History, call: Call) -> History:
    """The calls that a reader needs to see, in the order they were made."""
    overlapping = [
        each
        for each in history
        if each.invoked <= call.returned and each.returned >= call.invoked and not each.is_open
    ]
    ended = sorted(
        (each for each in history if each.returned < call.invoked), key=lambda each: each.returned
    )
    source = [each for each in history if _wrote(each, call)]
    window = dict.fromkeys([*overlapping, *ended[-_EARLIER:], *source])
    return sorted(window, key=lambda each: each.invoked)


def _wrote(each: Call, call: Call) -> bool:
    if not isinstance(call.action, Get) or call.result is None:
        return False
    return isinstance(each.action, Set | CompareAndSet) and each.action.value == call.result
