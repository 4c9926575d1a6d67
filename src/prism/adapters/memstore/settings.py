"""Settings of the memstore, and the profile that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from prism.kit import setting_not_allowed
from prism.ports import (
    Capability,
    Declaration,
    Limits,
    Profile,
    VersionKind,
    setting,
)
from prism.version import VERSION

NAME = "memstore"

CAPABILITIES: Mapping[Capability, Declaration] = {
    Capability.TTL: Declaration(
        granularity=timedelta(milliseconds=1),
        notes="Uses the monotonic clock of this process; reads the wall clock once, at the start.",
    ),
    Capability.COMPARE_AND_SET: Declaration(),
    Capability.BATCH: Declaration(),
    Capability.SCAN: Declaration(),
    Capability.COUNTER: Declaration(),
    Capability.WATCH: Declaration(
        event_values=True,
        event_delay=timedelta(seconds=10),
        notes="An expiry is usually reported within 0.2 s; when a million keys expire at once, it"
        " takes seconds. A watch ends when its reader is 65,536 events, or 16 MiB, behind.",
    ),
    Capability.TRANSACTIONS: Declaration(),
}


@dataclass(frozen=True, slots=True)
class MemstoreSettings:
    """Limits on the stored data. Nothing is evicted: a write beyond a limit is refused."""

    max_keys: int = setting(0, help="Maximum number of keys; 0: no limit.")
    max_bytes: int = setting(0, help="Maximum bytes of all keys and values; 0: no limit.")
    max_value_bytes: int = setting(1 << 20, help="Maximum bytes of one value.")

    def __post_init__(self) -> None:
        for name, value, least, allowed in (
            ("max_keys", self.max_keys, 0, "0 (no limit) or more"),
            ("max_bytes", self.max_bytes, 0, "0 (no limit) or more"),
            ("max_value_bytes", self.max_value_bytes, 1, "1 or more"),
        ):
            if value < least:
                raise setting_not_allowed(NAME, name, value, allowed)


def profile_of(settings: MemstoreSettings) -> Profile:
    """Return the profile of a memstore with these settings."""
    return Profile(
        driver=NAME,
        version=VERSION,
        version_kind=VersionKind.REVISION,
        capabilities=CAPABILITIES,
        limits=Limits(max_value_bytes=settings.max_value_bytes),
        ephemeral=True,
    )
