"""What the memstore says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from importlib.metadata import version

from prism.adapters.memstore.settings import MemstoreSettings
from prism.ports import Capability, Declaration, Limits, Profile, VersionKind

NAME = "memstore"
VERSION = version("prism")

CAPABILITIES: Mapping[Capability, Declaration] = {
    Capability.TTL: Declaration(
        granularity=timedelta(milliseconds=1),
        notes="By the monotonic clock of this process; the wall clock is read once, at the start.",
    ),
    Capability.COMPARE_AND_SET: Declaration(),
    Capability.BATCH: Declaration(),
    Capability.SCAN: Declaration(),
    Capability.COUNTER: Declaration(),
    Capability.WATCH: Declaration(
        event_values=True,
        event_delay=timedelta(seconds=10),
        notes="An expiry is reported after 0.2 s as a rule, and after seconds where a million keys"
        " expire at once. A watch ends when 65,536 events, or 16 MiB, are yet to be read.",
    ),
}


def profile_of(settings: MemstoreSettings) -> Profile:
    """Everything native, and the limit on values as it is set."""
    return Profile(
        driver=NAME,
        version=VERSION,
        version_kind=VersionKind.REVISION,
        capabilities=CAPABILITIES,
        limits=Limits(max_value_bytes=settings.max_value_bytes),
        ephemeral=True,
    )
