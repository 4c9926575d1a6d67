"""History of one key: the actions on it, and calls with their times and results.

An action is a pure function from the state of a key to a result and the next state. A
version is opaque, so a compare-and-set names the value that its version belongs to. That is
exact as long as each value is written once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple, TypeAlias

Value: TypeAlias = bytes | None
"""State of a key: its value; None: the key is absent."""

_CANONICAL_INTEGER = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Get:
    """Returns the value."""

    writes: ClassVar[bool] = False

    def apply(self, state: Value) -> tuple[object, Value]:
        """Return the result in this state, and the state afterwards."""
        return state, state

    def __str__(self) -> str:
        return "get"


@dataclass(frozen=True, slots=True)
class Exists:
    """Returns whether the key exists."""

    writes: ClassVar[bool] = False

    def apply(self, state: Value) -> tuple[object, Value]:
        return state is not None, state

    def __str__(self) -> str:
        return "exists"


@dataclass(frozen=True, slots=True)
class ChangeTtl:
    """Changes the expiry, not the value; returns whether the key exists.

    Attributes:
        operation: `expire` or `persist`.
    """

    writes: ClassVar[bool] = False
    operation: str

    def apply(self, state: Value) -> tuple[object, Value]:
        return state is not None, state

    def __str__(self) -> str:
        return self.operation


@dataclass(frozen=True, slots=True)
class Set:
    """Writes the value; the result is always None."""

    writes: ClassVar[bool] = True
    value: bytes

    def apply(self, state: Value) -> tuple[object, Value]:
        return None, self.value

    def __str__(self) -> str:
        return f"set {shown(self.value)}"


@dataclass(frozen=True, slots=True)
class Delete:
    """Removes the key; returns whether it existed."""

    writes: ClassVar[bool] = True

    def apply(self, state: Value) -> tuple[object, Value]:
        return state is not None, None

    def __str__(self) -> str:
        return "delete"


@dataclass(frozen=True, slots=True)
class CompareAndSet:
    """Writes the value if the key holds `expected`; returns whether it did."""

    writes: ClassVar[bool] = True
    expected: Value
    value: bytes

    def apply(self, state: Value) -> tuple[object, Value]:
        return (True, self.value) if state == self.expected else (False, state)

    def __str__(self) -> str:
        return f"set {shown(self.value)} if {shown(self.expected)}"


@dataclass(frozen=True, slots=True)
class CompareAndDelete:
    """Removes the key if it holds `expected`; returns whether it did."""

    writes: ClassVar[bool] = True
    expected: bytes

    def apply(self, state: Value) -> tuple[object, Value]:
        return (True, None) if state == self.expected else (False, state)

    def __str__(self) -> str:
        return f"delete if {shown(self.expected)}"


@dataclass(frozen=True, slots=True)
class Increment:
    """Adds to the number; returns the sum, or None where the value or the sum is not an int64."""

    writes: ClassVar[bool] = True
    delta: int

    def apply(self, state: Value) -> tuple[object, Value]:
        held = b"0" if state is None else state
        if not _CANONICAL_INTEGER.fullmatch(held):
            return None, state
        number = int(held) + self.delta
        return (number, b"%d" % number) if number in _INT64 else (None, state)

    def __str__(self) -> str:
        return f"increment by {self.delta}"


Action: TypeAlias = (
    Get | Exists | ChangeTtl | Set | Delete | CompareAndSet | CompareAndDelete | Increment
)


class _Unknown:
    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = _Unknown()
"""Result of a write that timed out: it may take effect at any later time, or never."""

NEVER: Final = math.inf
"""Return time of a call whose result is unknown."""


class Call(NamedTuple):
    """One call on one key.

    Attributes:
        caller: name of the caller, shown to people only.
        action: what was asked.
        invoked: time of the request in seconds, by one clock for the whole history.
        returned: time of the reply by the same clock; `NEVER` where the result is `UNKNOWN`.
        result: what the caller received, as `action.apply` returns it.
    """

    caller: str
    action: Action
    invoked: float
    returned: float
    result: object

    @property
    def is_open(self) -> bool:
        """Whether the result is unknown."""
        return self.result is UNKNOWN

    def line(self, since: float) -> str:
        """Return one line for people, with times in milliseconds after `since`."""
        begin = f"{(self.invoked - since) * 1000:9.3f}"
        end = "        …" if self.is_open else f"{(self.returned - since) * 1000:9.3f}"
        is_set = isinstance(self.action, Set) and self.result is None
        result = "done" if is_set else shown(self.result)
        if not isinstance(self.action, Get | Set | Delete) and isinstance(self.result, bool):
            result = {True: "yes", False: "no"}[self.result]
        return f"{begin} to {end} ms  {self.caller:>10}  {self.action} → {result}"


History: TypeAlias = Sequence[Call]
"""Calls on one key, in any order."""


def shown(value: object) -> str:
    """Return a value or a result as text, shortened to fit a line."""
    if value is None:
        return "absent"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:24]}… ({len(text)} characters)"
