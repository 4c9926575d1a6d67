"""Arguments and results of the key-value ports."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, StrEnum, auto
from typing import NamedTuple, NewType, TypeAlias

INT64_MIN, INT64_MAX = -(1 << 63), (1 << 63) - 1
"""Bounds of a counter and of its deltas."""

Version = NewType("Version", int)
"""Opaque unsigned 64-bit token; only the equality of two versions of one key has a meaning."""


class Entry(NamedTuple):
    """Value of a key, with version and expiry. A tuple, because batches create many.

    Attributes:
        value: the stored bytes, possibly none.
        version: changes whenever the value does.
        expires_at_ms: milliseconds since the Unix epoch by the backend's clock, in every read;
            None when the key does not expire.
    """

    value: bytes
    version: Version
    expires_at_ms: int | None = None


class Put(NamedTuple):
    """Write of a value: an item of `Batch.set_many`, or of a transaction."""

    key: str
    value: bytes
    ttl: timedelta | None = None


class Delete(NamedTuple):
    """Removal of a key in a transaction."""

    key: str


Write: TypeAlias = Put | Delete
"""One write of a transaction."""


class Presence(Enum):
    """Requirement on a key whose version does not matter."""

    ABSENT = auto()
    PRESENT = auto()


class Condition(NamedTuple):
    """Requirement of a transaction on a key.

    Attributes:
        key: key that is looked at.
        expected: version that the key must have, or whether it must exist.
    """

    key: str
    expected: Version | Presence

    @classmethod
    def unchanged(cls, key: str, entry: Entry | None) -> Condition:
        """Require that the key is as it was read.

        Args:
            entry: result of `get`.
        """
        return cls(key, Presence.ABSENT if entry is None else entry.version)

    def is_met_by(self, version: Version | None) -> bool:
        """Return whether the key may have this version; None: it may be absent."""
        if self.expected is Presence.ABSENT:
            return version is None
        if self.expected is Presence.PRESENT:
            return version is not None
        return version == self.expected


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Remaining lifetime of an existing key; None: it does not expire."""

    remaining: timedelta | None = None


class Persisted(Enum):
    """Result of `Expiry.persist`."""

    NO_KEY = auto()
    NO_EXPIRY = auto()
    EXPIRY_REMOVED = auto()


class Change(StrEnum):
    """Kind of a change."""

    PUT = "put"
    DELETE = "delete"
    EXPIRE = "expire"


class Event(NamedTuple):
    """Change of a key, as a watch reports it.

    Attributes:
        change: kind of the change.
        key: key that changed.
        value: value that was put, if the backend declares `event_values`; otherwise None.
        version: version of the value; None exactly when `value` is None.
    """

    change: Change
    key: str
    value: bytes | None = None
    version: Version | None = None


class Count(NamedTuple):
    """Number after an increment, and the new version of its key."""

    value: int
    version: Version


@dataclass(frozen=True, slots=True)
class Page:
    """Page of a scan.

    Attributes:
        keys: keys of this page; possibly none, and possibly some that an earlier page had.
        entries: entries in the order of `keys`; None when values were not requested.
        next_token: `page_token` of the next page; empty at the end of the scan.
    """

    keys: Sequence[str]
    entries: Sequence[Entry] | None
    next_token: str
