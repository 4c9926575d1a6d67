"""What one key does: a register that can be absent, compared and counted.

Over values, for versions are opaque: a compare-and-set names the value whose
version it was given. That is exact as long as nobody writes a value twice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, TypeAlias

Value: TypeAlias = bytes | None
"""What a key holds; None: it is absent."""

_CANONICAL = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_INT64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Get:
    """Answers the value."""

    writes: ClassVar[bool] = False

    def after(self, state: Value) -> tuple[object, Value]:
        """The result in that state, and the state that follows."""
        return state, state

    def __str__(self) -> str:
        return "get"


@dataclass(frozen=True, slots=True)
class Exists:
    """Answers whether the key exists."""

    writes: ClassVar[bool] = False

    def after(self, state: Value) -> tuple[object, Value]:
        return state is not None, state

    def __str__(self) -> str:
        return "exists"


@dataclass(frozen=True, slots=True)
class Set:
    """Answers nothing that depends on the state."""

    writes: ClassVar[bool] = True
    value: bytes

    def after(self, state: Value) -> tuple[object, Value]:
        return None, self.value

    def __str__(self) -> str:
        return f"set {shown(self.value)}"


@dataclass(frozen=True, slots=True)
class Delete:
    """Answers whether the key existed."""

    writes: ClassVar[bool] = True

    def after(self, state: Value) -> tuple[object, Value]:
        return state is not None, None

    def __str__(self) -> str:
        return "delete"


@dataclass(frozen=True, slots=True)
class CompareAndSet:
    """Answers whether it won."""

    writes: ClassVar[bool] = True
    expected: Value
    value: bytes

    def after(self, state: Value) -> tuple[object, Value]:
        return (True, self.value) if state == self.expected else (False, state)

    def __str__(self) -> str:
        return f"set {shown(self.value)} if {shown(self.expected)}"


@dataclass(frozen=True, slots=True)
class CompareAndDelete:
    """Answers whether it won."""

    writes: ClassVar[bool] = True
    expected: bytes

    def after(self, state: Value) -> tuple[object, Value]:
        return (True, None) if state == self.expected else (False, state)

    def __str__(self) -> str:
        return f"delete if {shown(self.expected)}"


@dataclass(frozen=True, slots=True)
class Increment:
    """Answers the number; of a value that is none, or a sum too large, nothing."""

    writes: ClassVar[bool] = True
    delta: int

    def after(self, state: Value) -> tuple[object, Value]:
        held = b"0" if state is None else state
        if not _CANONICAL.fullmatch(held):
            return None, state
        number = int(held) + self.delta
        return (number, b"%d" % number) if number in _INT64 else (None, state)

    def __str__(self) -> str:
        return f"increment by {self.delta}"


Action: TypeAlias = Get | Exists | Set | Delete | CompareAndSet | CompareAndDelete | Increment


def shown(value: object) -> str:
    """A value or a result, short enough for a line."""
    if value is None:
        return "absent"
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:24]}… ({len(text)} characters)"
