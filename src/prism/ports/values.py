"""What goes in and out of a key-value port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum, auto
from typing import NamedTuple, NewType

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
"""Bounds of a counter and of what is added to it."""

Version = NewType("Version", int)
"""An opaque unsigned 64-bit token; only equality means anything."""


class Entry(NamedTuple):
    """What a key holds. A tuple because a batch makes a thousand of them.

    Attributes:
        value: 0 bytes and more.
        version: changes whenever the value does.
        expires_at_ms: milliseconds since the Unix epoch by the backend's clock;
            None when the key does not expire.
    """

    value: bytes
    version: Version
    expires_at_ms: int | None = None


class Put(NamedTuple):
    """One item of `Batch.set_many`; a tuple for the same reason as an entry."""

    key: str
    value: bytes
    ttl: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Lifetime:
    """How long an existing key has to live; None: for ever."""

    remaining: timedelta | None = None


class Persisted(Enum):
    """What `Expiry.persist` found."""

    NO_KEY = auto()
    NO_EXPIRY = auto()
    EXPIRY_REMOVED = auto()


class Change(StrEnum):
    """What happened to a key."""

    PUT = "put"
    DELETE = "delete"
    EXPIRE = "expire"


class Event(NamedTuple):
    """One change that a watch reports.

    Attributes:
        value: what was put, where the backend declares `event_values`; else None.
        version: of the value; None exactly where `value` is.
    """

    change: Change
    key: str
    value: bytes | None = None
    version: Version | None = None


class Count(NamedTuple):
    """The number after an increment, and the version of its key."""

    value: int
    version: Version


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a scan.

    Attributes:
        keys: possibly none, possibly some that an earlier page had.
        entries: aligned with `keys`; None when values were not asked for.
        next_token: where the next page begins; empty means the end.
    """

    keys: Sequence[str]
    entries: Sequence[Entry] | None
    next_token: str
