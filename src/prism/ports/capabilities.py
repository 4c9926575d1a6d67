"""Capabilities, limits, and the profile in which a driver declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

MAX_KEY_BYTES = 1024
"""Maximum size of a key in bytes of UTF-8, the same for every backend."""

MAX_TTL = timedelta(days=36_525)
"""Longest ttl: 100 years."""


class Capability(StrEnum):
    """Optional part of a backend, beyond `KeyValue`. Each capability is a port of its own."""

    TTL = "ttl"
    COMPARE_AND_SET = "compare_and_set"
    BATCH = "batch"
    SCAN = "scan"
    COUNTER = "counter"
    WATCH = "watch"
    TRANSACTIONS = "transactions"


class Support(StrEnum):
    """Whether the backend itself has a capability, or the driver adds it."""

    NATIVE = "native"
    EMULATED = "emulated"


@dataclass(frozen=True, slots=True)
class Declaration:
    """How a backend supports a capability.

    Attributes:
        support: native to the backend, or emulated by the driver.
        granularity: smallest step of time; zero when time does not matter.
        clock_error: maximum error of the driver's estimate of the backend's clock.
        notes: text for people: which promises are weaker, and when.
        event_values: WATCH only: whether put events carry value and version.
        event_delay: WATCH only: maximum time from a key's expiry to its event; None when no
            bound is known.
    """

    support: Support = Support.NATIVE
    granularity: timedelta = timedelta()
    clock_error: timedelta = timedelta()
    notes: str = ""
    event_values: bool = True
    event_delay: timedelta | None = timedelta(seconds=1)


class VersionKind(StrEnum):
    """Meaning of equal versions of one key; versions of two keys are never compared.

    REVISION: nothing was written in between. A write of the same value changes the version,
    and no version returns, also after deletes, expiries and restarts.
    DIGEST: the values are the same.
    """

    REVISION = "revision"
    DIGEST = "digest"


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on one request; a request beyond a limit is refused as a whole.

    Attributes:
        max_value_bytes: size of one value.
        max_batch_items: number of items in one batch; number of conditions and writes in one
            transaction.
        max_batch_bytes: size of all keys and values of one batch or one transaction, and
            approximately the size of the values in one reply.
        max_page_size: number of keys in one page of a scan.
        max_key_bytes: size of one key.
    """

    max_value_bytes: int = 1 << 20
    max_batch_items: int = 1000
    max_batch_bytes: int = 3_932_160
    max_page_size: int = 1000
    max_key_bytes: int = MAX_KEY_BYTES


@dataclass(frozen=True, slots=True)
class Profile:
    """Declaration of a driver about itself and its backend; complete once initialized.

    Attributes:
        driver: name of the driver.
        version: version of the driver's package.
        version_kind: meaning of equal versions of a key.
        capabilities: what the backend supports, and how.
        limits: limits on one request.
        hints: for capabilities that this backend lacks but could have: what to do about it.
        ephemeral: whether the data is lost when the driver's process ends.
        shared: whether a key that one driver wrote is seen by every other driver with the same
            settings, in any process. What the ports promise then holds for all of them
            together: linearizable keys, one winner of a race, no lost increment, and watches
            that report the writes of all.
    """

    driver: str
    version: str
    version_kind: VersionKind
    capabilities: Mapping[Capability, Declaration] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    hints: Mapping[Capability, str] = field(default_factory=dict)
    ephemeral: bool = False
    shared: bool = False
