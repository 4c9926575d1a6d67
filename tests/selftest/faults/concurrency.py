"""Drivers with one defect in their lifecycle, or under concurrent or cancelled calls."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    BackendTimeout,
    DrainReport,
    Entry,
    Outcome,
    Version,
)
from prism.testing.suite.backend import AnyDriver
from tests.selftest.faults.fault import Fault


class DrainLosesTheBuffer(Fault):
    """Acknowledges writes while they are in a buffer, and does not flush it in a drain."""

    caught_by = "test_a_drain_loses_no_acknowledged_write"

    def __init__(self, inner: AnyDriver) -> None:
        super().__init__(inner)
        self._buffered: str | None = None

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._buffered = key
        return await self.inner.set(key, value, ttl=ttl)

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        if self._buffered is not None:
            await self.inner.delete(self._buffered)
        return await self.inner.drain(timeout)


class ClosedDriversHang(Fault):
    caught_by = "test_a_closed_driver_raises_an_error"
    _closed = False

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        self._closed = True
        await self.inner.stop(timeout)

    async def get(self, key: str) -> Entry | None:
        if self._closed:
            await asyncio.Event().wait()
        return await self.inner.get(key)


class ClosingTwiceFails(Fault):
    caught_by = "test_closing_a_driver_twice_is_safe"
    _closed = False

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        if self._closed:
            raise RuntimeError("already closed")
        self._closed = True
        await self.inner.stop(timeout)


class DrainReportIsWrong(Fault):
    caught_by = "test_drain_of_an_idle_backend_reports_nothing"

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        report = await self.inner.drain(timeout)
        return DrainReport(report.completed + 1, report.aborted)


class ReadsAreCached(Fault):
    """Returns an earlier result for a few reads in a hundred."""

    caught_by = "test_a_history_on_one_key_is_linearizable"

    def __init__(self, inner: AnyDriver) -> None:
        super().__init__(inner)
        self._cached: dict[str, Entry | None] = {}
        self._reads = 0

    async def get(self, key: str) -> Entry | None:
        self._reads += 1
        if self._reads % 100 > 96 and key in self._cached:
            return self._cached[key]
        self._cached[key] = await self.inner.get(key)
        return self._cached[key]


class WritesAreAcknowledgedEarly(Fault):
    """Acknowledges some writes before they are applied, as a fire-and-forget driver does."""

    caught_by = "test_readers_never_go_back_in_time"

    def __init__(self, inner: AnyDriver) -> None:
        super().__init__(inner)
        self._tasks: set[asyncio.Task[object]] = set()
        self._writes = 0

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        entry = await self.inner.get(key)
        version = await self.inner.set(key, value, ttl=ttl)
        self._writes += 1
        if entry is not None and entry.expires_at_ms is None and self._writes % 50 == 0:
            # Keep the old value for a few iterations of the event loop.
            await self.inner.set(key, entry.value)
            task = asyncio.create_task(self._apply(key, value, ttl))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return version

    async def _apply(self, key: str, value: bytes, ttl: timedelta | None) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
        await self.inner.set(key, value, ttl=ttl)


class TimeoutsSayNotApplied(Fault):
    """Reports overwrites that timed out as not applied, although they were applied."""

    caught_by = "test_a_history_with_injected_errors_is_linearizable"

    def __init__(self, inner: AnyDriver) -> None:
        super().__init__(inner)
        self._overwrites = 0

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        overwrites = await self.inner.exists(key)
        version = await self.inner.set(key, value, ttl=ttl)
        self._overwrites += overwrites
        # A prime, so that these errors do not coincide with those that the suite injects.
        if overwrites and self._overwrites % 31 == 0:
            raise BackendTimeout("no reply in time", outcome=Outcome.NOT_APPLIED)
        return version


class CancelledReadCorruptsTheNext(Fault):
    """Returns the reply of a cancelled read as the result of the next read."""

    caught_by = "test_a_cancelled_read_leaves_the_connection_usable"

    def __init__(self, inner: AnyDriver) -> None:
        super().__init__(inner)
        self._unread_replies: list[Entry | None] = []

    async def get(self, key: str) -> Entry | None:
        entry = await self.inner.get(key)
        if self._unread_replies:
            return self._unread_replies.pop()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._unread_replies.append(entry)
            raise
        return entry


class DeletedKeyReappears(Fault):
    """Applies a deleted value again for a moment, as a replay would."""

    caught_by = "test_a_deleted_key_never_reappears_to_readers"

    async def delete(self, key: str) -> bool:
        entry = await self.inner.get(key)
        existed = await self.inner.delete(key)
        if entry is not None and entry.expires_at_ms is None:
            for _ in range(3):
                await asyncio.sleep(0)
            if await self.inner.get(key) is None:
                await self.inner.set(key, entry.value)
                await asyncio.sleep(0)
                await self.inner.delete(key)
        return existed


class SlowWritesBlockReads(Fault):
    """Has one connection, on which a read waits for the replies to all writes before it."""

    caught_by = "test_slow_operations_do_not_delay_others"
    outermost = True

    def __init__(self, inner: AnyDriver) -> None:
        super().__init__(inner)
        self._pending_writes: set[asyncio.Future[None]] = set()

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        answered = asyncio.get_running_loop().create_future()
        self._pending_writes.add(answered)
        try:
            return await self.inner.set(key, value, ttl=ttl)
        finally:
            self._pending_writes.discard(answered)
            answered.set_result(None)

    async def exists(self, key: str) -> bool:
        if self._pending_writes:
            await asyncio.wait([*self._pending_writes])
        return await self.inner.exists(key)
