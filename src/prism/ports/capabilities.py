"""What a backend can do, how, and within which limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

MAX_KEY_BYTES = 1024
"""The same for every backend: one that stores less encodes its keys."""

MAX_TTL = timedelta(days=36_525)
"""100 years."""


class Capability(StrEnum):
    """What a backend may do beyond `KeyValue`; each has its port."""

    TTL = "ttl"
    COMPARE_AND_SET = "compare_and_set"
    BATCH = "batch"
    SCAN = "scan"
    COUNTER = "counter"
    WATCH = "watch"


class Support(StrEnum):
    """Who does the work: the backend itself, or the driver around it."""

    NATIVE = "native"
    EMULATED = "emulated"


@dataclass(frozen=True, slots=True)
class Declaration:
    """How a backend has a capability.

    Attributes:
        granularity: the smallest step of time it tells apart; zero: none.
        clock_error: how far the driver may misjudge the backend's clock.
        notes: for people: what it weakens, and when.
        event_values: of WATCH: puts are reported with value and version.
        event_delay: of WATCH: how long after its expiry a key is reported as
            expired, at most; None: no bound is known.
    """

    support: Support = Support.NATIVE
    granularity: timedelta = timedelta()
    clock_error: timedelta = timedelta()
    notes: str = ""
    event_values: bool = True
    event_delay: timedelta | None = timedelta(seconds=1)


class VersionKind(StrEnum):
    """What equal versions tell: nothing was written in between, or the value is the same."""

    REVISION = "revision"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one request; a request beyond one is refused whole.

    Attributes:
        max_value_bytes: of one value.
        max_batch_items: of one batch.
        max_batch_bytes: keys and values of one batch together, and about the
            values of one reply.
        max_page_size: keys of one scan page.
    """

    max_value_bytes: int = 1 << 20
    max_batch_items: int = 1000
    max_batch_bytes: int = 3_932_160
    max_page_size: int = 1000
    max_key_bytes: int = MAX_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Profile:
    """What a driver says of itself and its backend, whole once initialized.

    Attributes:
        hints: of capabilities that this backend lacks and might have: what to do about it.
        ephemeral: the data lives in the driver's own process, and ends with it.
    """

    driver: str
    version: str
    version_kind: VersionKind
    capabilities: Mapping[Capability, Declaration] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    hints: Mapping[Capability, str] = field(default_factory=dict)
    ephemeral: bool = False
