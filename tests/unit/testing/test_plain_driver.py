"""The suite passes with drivers unlike memstore: digests, a coarse clock, few capabilities."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, ClassVar

import pytest

from prism.kit import check_conditions
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Capability,
    Condition,
    Count,
    Declaration,
    Delete,
    DrainReport,
    Driver,
    DriverSpec,
    Entry,
    Health,
    HealthStatus,
    Lifetime,
    Limits,
    NotServing,
    Page,
    Persisted,
    PreconditionFailed,
    PrismError,
    Profile,
    Put,
    Version,
    VersionConflict,
    VersionKind,
    Write,
)
from prism.testing import AcceptanceSuite, DriverWrapper, Level, OpenBackend
from prism.testing.levels import in_process

STEP = timedelta(milliseconds=50)
MILLISECOND = timedelta(milliseconds=1)
INT64 = (-(1 << 63), (1 << 63) - 1)
EVERYTHING: Mapping[Capability, Declaration] = {
    capability: Declaration(granularity=STEP if capability is Capability.TTL else timedelta())
    for capability in Capability
    if capability is not Capability.WATCH
}


@dataclass(frozen=True, slots=True)
class PlainSettings:
    """No settings."""


class PlainDriver:
    """Driver on a dict, as simple as can be."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] | None = None
        self.first_expiry_ms = math.inf
        self.profile = Profile(
            "plain",
            "1",
            VersionKind.DIGEST,
            EVERYTHING,
            Limits(max_page_size=50),
            ephemeral=True,
        )

    async def initialize(self, settings: PlainSettings) -> None:
        self.entries = {}

    async def start(self) -> None:
        pass

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        self.entries = None

    async def health(self) -> Health:
        if self.entries is None:
            return Health(HealthStatus.UNHEALTHY, "not open")
        return Health(HealthStatus.HEALTHY, "a dict")

    def _live(self) -> dict[str, Entry]:
        if self.entries is None:
            raise NotServing("not open")
        now = time.time() * 1000
        if self.first_expiry_ms <= now:
            for key, entry in list(self.entries.items()):
                if entry.expires_at_ms is not None and entry.expires_at_ms <= now:
                    del self.entries[key]
            times = (entry.expires_at_ms for entry in self.entries.values())
            self.first_expiry_ms = min((each for each in times if each), default=math.inf)
        return self.entries

    def _put_entry(self, key: str, entry: Entry) -> None:
        self._live()[key] = entry
        self.first_expiry_ms = min(self.first_expiry_ms, entry.expires_at_ms or math.inf)

    async def get(self, key: str) -> Entry | None:
        return self._live().get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        digest = hashlib.sha1(value, usedforsecurity=False).digest()
        version = Version(int.from_bytes(digest[:8], "big"))
        self._put_entry(key, Entry(value, version, _expiry_time(ttl)))
        return version

    async def delete(self, key: str) -> bool:
        return self._live().pop(key, None) is not None

    async def exists(self, key: str) -> bool:
        return key in self._live()

    async def expire(self, key: str, ttl: timedelta) -> bool:
        return self._set_expiry(key, _expiry_time(ttl)) is not None

    async def ttl(self, key: str) -> Lifetime | None:
        entry = self._live().get(key)
        if entry is None or entry.expires_at_ms is None:
            return entry and Lifetime()
        return Lifetime((entry.expires_at_ms - time.time() * 1000) * MILLISECOND)

    async def persist(self, key: str) -> Persisted:
        entry = self._set_expiry(key, None)
        if entry is None:
            return Persisted.NO_KEY
        return Persisted.EXPIRY_REMOVED if entry.expires_at_ms else Persisted.NO_EXPIRY

    def _set_expiry(self, key: str, expires_at_ms: int | None) -> Entry | None:
        before = self._live().get(key)
        if before is not None:
            self._put_entry(key, before._replace(expires_at_ms=expires_at_ms))
        return before

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        self._compare(key, expected)
        return await self.set(key, value, ttl=ttl)

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        self._compare(key, expected)
        await self.delete(key)

    def _compare(self, key: str, expected: Version | None) -> None:
        entry = self._live().get(key)
        if (None if entry is None else entry.version) != expected:
            raise VersionConflict("the version differs")

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        live = self._live()
        check_conditions(conditions, lambda key: live[key].version if key in live else None)
        return [
            await (self.delete(write.key) if isinstance(write, Delete) else self._put(write))
            for write in writes
        ]

    async def _put(self, put: Put) -> Version:
        return await self.set(put.key, put.value, ttl=put.ttl)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        return [await self.get(key) for key in keys]

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return [await self.set(put.key, put.value, ttl=put.ttl) for put in puts]

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return [await self.delete(key) for key in keys]

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        live, begin = self._live(), page_token[1:]
        after = sorted(key for key in live if key.startswith(prefix) and key > begin)
        # Fewer with values than were asked for, as of a backend with a limit on replies.
        keys = after[: (page_size + 1) // 2 if values else page_size]
        more = len(after) > len(keys)
        entries = [live[key] for key in keys] if values else None
        return Page(keys, entries, f">{keys[-1]}" if more else "")

    async def increment(self, key: str, delta: int = 1) -> Count:
        entry = self._live().get(key) or Entry(b"0", Version(0))
        try:
            number = int(entry.value)
        except ValueError:
            number = -1
        if b"%d" % number != entry.value or not INT64[0] <= number <= INT64[1]:
            raise PreconditionFailed("not a number", reason="NOT_AN_INTEGER")
        if not INT64[0] <= number + delta <= INT64[1]:
            raise PreconditionFailed("too large", reason="OVERFLOW")
        version = await self.set(key, b"%d" % (number + delta))
        self._set_expiry(key, entry.expires_at_ms)
        return Count(number + delta, version)


def _expiry_time(ttl: timedelta | None) -> int | None:
    """Return the expiry time in milliseconds, rounded up to the next step."""
    if ttl is None:
        return None
    return int(time.time() * 1000) + 1 + -(-ttl // STEP) * (STEP // MILLISECOND)


def _plain() -> Driver[Any]:
    return PlainDriver()


SPEC = DriverSpec("plain", "1", "A dict.", PlainSettings, _plain, EVERYTHING)


class BareDriver(DriverWrapper):
    """Driver that declares no capability, though it implements all."""

    def __init__(self, inner: PlainDriver) -> None:
        super().__init__(inner)
        self._profile = replace(inner.profile, capabilities={})

    @property
    def profile(self) -> Profile:
        return self._profile


def _bare() -> Driver[Any]:
    return BareDriver(PlainDriver())


BARE_SPEC = DriverSpec("bare", "1", "A dict.", PlainSettings, _bare, {})


class TestPlain(AcceptanceSuite):
    stress_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 1.0}

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        return in_process(SPEC)


class TestBare(AcceptanceSuite):
    stress_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 1.0}

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        return in_process(BARE_SPEC)
