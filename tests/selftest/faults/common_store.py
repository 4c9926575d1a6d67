"""Drivers of a store that several of them share and that outlives them, with one defect each.

The store is a memstore that all drivers of a run use. A defect shows only with two of them, or
after one was stopped and another one was started.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from prism.kit import add_to_counter, version_conflict
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Change,
    Count,
    DrainReport,
    Driver,
    Event,
    Page,
    PrismError,
    Profile,
    Put,
    Version,
)
from tests.selftest.faults.fault import Fault


class SharedStoreFault(Fault):
    """Driver of a store that lives as long as the process, and its drivers do not."""

    _stores: ClassVar[dict[type[Fault], Driver[Any]]] = {}

    @property
    def profile(self) -> Profile:
        return replace(self.inner.profile, shared=True, ephemeral=False)

    async def initialize(self, settings: Any) -> None:
        if type(self) not in self._stores:
            self._stores[type(self)] = self.inner
            await self.inner.initialize(settings)
            await self.inner.start()
        self.inner = self._stores[type(self)]  # type: ignore[assignment]

    async def start(self) -> None:
        """Do nothing: the store has started."""

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        # Its store goes on; this driver has one that is closed.
        self.inner = type(self.inner)()


class EachBackendCountsAlone(SharedStoreFault):
    """Reads and writes under a lock of its own process."""

    caught_by = "test_several_backends_lose_no_increment"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._lock = asyncio.Lock()

    async def increment(self, key: str, delta: int = 1) -> Count:
        async with self._lock:
            entry = await self.inner.get(key)
            if entry is not None and entry.expires_at_ms is not None:
                return await self.inner.increment(key, delta)
            number = add_to_counter(entry.value if entry else None, delta)
            await asyncio.sleep(0)
            return Count(number, await self.inner.set(key, b"%d" % number))


class AbsenceIsRemembered(SharedStoreFault):
    """Remembers which keys do not exist until this driver writes them."""

    caught_by = "test_a_write_through_one_backend_is_read_through_all"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._absent: dict[str, float] = {}

    async def exists(self, key: str) -> bool:
        now = time.monotonic()
        if self._absent.get(key, 0) > now:
            return False
        exists = await self.inner.exists(key)
        if not exists:
            self._absent[key] = now + 0.2
        return exists

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._absent.clear()
        return await self.inner.set(key, value, ttl=ttl)


class EachBackendComparesAlone(SharedStoreFault):
    """Compares the version under a lock of its own process, and then writes over any value."""

    caught_by = "test_one_backend_wins_each_race"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._lock = asyncio.Lock()

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        async with self._lock:
            entry = await self.inner.get(key)
            if (entry.version if entry else None) != expected:
                raise version_conflict(expected)
            await asyncio.sleep(0)
            return await self.inner.set(key, value, ttl=ttl)


class ExpireUndoesWritesOfOthers(SharedStoreFault):
    """Writes the value again with the new ttl, even if another backend wrote in between."""

    caught_by = "test_a_change_of_the_ttl_undoes_no_write_of_another_backend"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._lock = asyncio.Lock()

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        async with self._lock:
            return await self.inner.set(key, value, ttl=ttl)

    async def expire(self, key: str, ttl: timedelta) -> bool:
        async with self._lock:
            entry = await self.inner.get(key)
            await asyncio.sleep(0)
            if entry is None or not await self.inner.expire(key, ttl):
                return False
            found = await self.inner.get(key)
            if found is not None and found.value != entry.value:
                await self.inner.set(key, entry.value, ttl=ttl)
            return True


class WatchesReportOwnWritesOnly(SharedStoreFault):
    """Reports the puts that went through this driver, and not those of others."""

    caught_by = "test_a_watch_reports_the_writes_of_every_backend"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._own: set[bytes | None] = set()

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._own.add(value)
        return await self.inner.set(key, value, ttl=ttl)

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        self._own.add(value)
        return await self.inner.compare_and_set(key, value, expected=expected, ttl=ttl)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        self._own.update(put.value for put in puts)
        return await self.inner.set_many(puts)

    async def increment(self, key: str, delta: int = 1) -> Count:
        count = await self.inner.increment(key, delta)
        self._own.add(b"%d" % count.value)
        return count

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async def own(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
            async for event in events:
                if event.change is Change.PUT:
                    # The write answers in this turn of the loop or in the next.
                    await asyncio.sleep(0)
                if event.change is not Change.PUT or event.value in self._own:
                    yield event

        async with self.inner.watch(prefix) as events:
            yield own(events)


class TheLastWriteWaitsInABuffer(SharedStoreFault):
    """Acknowledges a write before it is saved, and a stop does not save it."""

    caught_by = "test_acknowledged_writes_survive_a_restart"
    _last_kept: str | None = None
    _buffered: str | None = None

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._last_kept, self._buffered = self._buffered, key
        return await self.inner.set(key, value, ttl=ttl)

    async def delete(self, key: str) -> bool:
        if self._buffered == key:
            self._buffered = self._last_kept
        return await self.inner.delete(key)

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        if self._buffered is not None:
            await self.inner.delete(self._buffered)
            self._buffered = None
        await super().stop(timeout)


class TtlsAreNotSaved(SharedStoreFault):
    caught_by = "test_a_ttl_survives_a_restart"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._expiring: set[str] = set()

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        if ttl is not None:
            self._expiring.add(key)
        return await self.inner.set(key, value, ttl=ttl)

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        for key in self._expiring:
            await self.inner.persist(key)
        self._expiring.clear()
        await super().stop(timeout)


class BatchesAreNotSaved(SharedStoreFault):
    caught_by = "test_batches_and_counters_survive_a_restart"
    _last: tuple[Put, ...] = ()

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        self._last = tuple(puts)
        return await self.inner.set_many(puts)

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        for put in self._last:
            await self.inner.delete(put.key)
        self._last = ()
        await super().stop(timeout)


class RevisionsBeginAgain(SharedStoreFault):
    """Counts its revisions in memory."""

    caught_by = "test_a_revision_never_repeats_across_a_restart"

    async def initialize(self, settings: Any) -> None:
        await super().initialize(settings)
        self.inner._store._version = 1  # type: ignore[attr-defined]


class TokensBelongToTheProcess(SharedStoreFault):
    """Keeps the positions of scans in memory, and takes a token that it lost for the end."""

    caught_by = "test_a_scan_goes_on_after_a_restart_or_says_that_it_cannot"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._issued: set[str] = set()

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        if page_token and page_token not in self._issued:
            return Page([], [] if values else None, "")
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        self._issued.add(page.next_token)
        return page
