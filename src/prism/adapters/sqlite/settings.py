"""Settings of the SQLite driver, and the profile that follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from prism.kit import setting_not_allowed
from prism.ports import (
    Capability,
    Declaration,
    InvalidArgument,
    Limits,
    Profile,
    VersionKind,
    setting,
)
from prism.version import VERSION

NAME = "sqlite"

CAPABILITIES: Mapping[Capability, Declaration] = {
    Capability.TTL: Declaration(
        granularity=timedelta(milliseconds=1),
        notes="Uses the wall clock of the machine: a step of the clock moves expiries.",
    ),
    Capability.COMPARE_AND_SET: Declaration(),
    Capability.BATCH: Declaration(),
    Capability.SCAN: Declaration(),
    Capability.COUNTER: Declaration(),
    Capability.WATCH: Declaration(
        event_values=True,
        event_delay=timedelta(seconds=10),
        notes="Writes of another process on the same file are usually reported within 0.1 s, and"
        " an expiry within 0.5 s. A watch ends when its reader is 65,536 events, or 16 MiB,"
        " behind, or when its process stands still for 10 s.",
    ),
    Capability.TRANSACTIONS: Declaration(
        notes="A transaction of SQLite, together with the writes of other callers."
    ),
}


class Synchronous(StrEnum):
    """What an acknowledged write survives.

    FULL: the end of the process and a loss of power. NORMAL: the end of the process; a loss of
    power may take the last writes. OFF: the end of the process; a loss of power may take the
    whole file.
    """

    FULL = "full"
    NORMAL = "normal"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class SqliteSettings:
    """The file, and how safely it is written."""

    path: Path = setting(help="File that holds the keys; created if absent; its folder must exist.")
    synchronous: Synchronous = setting(
        Synchronous.FULL,
        help="When writes reach the disk; full: before they are acknowledged.",
    )
    lock_timeout: timedelta = setting(
        timedelta(seconds=5), help="Longest time to wait while another process writes."
    )
    max_bytes: int = setting(0, help="Maximum size of the file in bytes; 0: no limit.")
    max_value_bytes: int = setting(1 << 20, help="Maximum bytes of one value.")

    def __post_init__(self) -> None:
        if str(self.path) == ":memory:":
            raise InvalidArgument(
                "sqlite setting path: :memory: is not a file, use the driver memstore instead"
            )
        if self.lock_timeout < timedelta():
            raise setting_not_allowed(NAME, "lock_timeout", self.lock_timeout, "0s or more")
        for name, value, least, allowed in (
            ("max_bytes", self.max_bytes, 0, "0 (no limit) or more"),
            ("max_value_bytes", self.max_value_bytes, 1, "1 or more"),
        ):
            if value < least:
                raise setting_not_allowed(NAME, name, value, allowed)


def profile_of(max_value_bytes: int) -> Profile:
    """Return the profile of a driver with this limit on values."""
    return Profile(
        driver=NAME,
        version=VERSION,
        version_kind=VersionKind.REVISION,
        capabilities=CAPABILITIES,
        limits=Limits(max_value_bytes=max_value_bytes),
        shared=True,
    )
