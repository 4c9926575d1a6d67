"""A history: calls with what they asked, what they were answered, and when."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias

from prism.testing.suite.histories.actions import Action, Delete, Get, Set, shown


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()
"""The result of a write that timed out: it may take effect at any time, or never."""

NEVER: Final = math.inf
"""When such a write returned."""


class Call(NamedTuple):
    """One call on one key.

    Attributes:
        caller: who made it; for the reader only.
        invoked: seconds by one clock for the whole history.
        returned: likewise; `NEVER` where the result is `UNKNOWN`.
        result: what `action.after` answers.
    """

    caller: str
    action: Action
    invoked: float
    returned: float
    result: object

    @property
    def is_open(self) -> bool:
        """Whether nobody knows what became of it."""
        return self.result is UNKNOWN

    def line(self, since: float) -> str:
        """For people; times are milliseconds since then."""
        begin = f"{(self.invoked - since) * 1000:9.3f}"
        end = "        …" if self.is_open else f"{(self.returned - since) * 1000:9.3f}"
        says_nothing = isinstance(self.action, Set) and self.result is None
        result = "done" if says_nothing else shown(self.result)
        if not isinstance(self.action, Get | Set | Delete) and isinstance(self.result, bool):
            result = {True: "yes", False: "no"}[self.result]
        return f"{begin} to {end} ms  {self.caller:>10}  {self.action} → {result}"


History: TypeAlias = Sequence[Call]
"""The calls on one key, in any order."""
