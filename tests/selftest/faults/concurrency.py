"""Drivers with one defect that shows under concurrency, when a call is cancelled, or at the end."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    BackendTimeout,
    DrainReport,
    Driver,
    Entry,
    Outcome,
    Version,
)
from tests.selftest.faults.fault import Fault


class DrainForgetsTheBuffer(Fault):
    """Acknowledges a write before it leaves the buffer, which a drain does not flush."""

    caught_by = "test_a_drain_loses_no_acknowledged_write"

    def __init__(self, inner: Driver[Any]) -> None:
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
            raise RuntimeError("closed already")
        self._closed = True
        await self.inner.stop(timeout)


class DrainReportsWhatItDidNotDo(Fault):
    caught_by = "test_drain_of_an_idle_backend_reports_nothing"

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        report = await self.inner.drain(timeout)
        return DrainReport(report.completed + 1, report.aborted)


class ReadsAreCached(Fault):
    """Answers a few reads in a hundred from what was read before."""

    caught_by = "test_a_history_on_one_key_is_linearizable"

    def __init__(self, inner: Driver[Any]) -> None:
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
    """Answers before the write is applied, as a fire-and-forget driver would."""

    caught_by = "test_readers_never_go_back_in_time"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._writes = 0

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        entry = await self.inner.get(key)
        version = await self.inner.set(key, value, ttl=ttl)
        self._writes += 1
        if entry is not None and entry.expires_at_ms is None and self._writes % 50 == 0:
            # The old value once more, for a few turns of the loop.
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
    """Says of an overwrite that timed out that nothing happened, though it did."""

    caught_by = "test_a_history_with_injected_errors_is_linearizable"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._overwrites = 0

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        overwrites = await self.inner.exists(key)
        version = await self.inner.set(key, value, ttl=ttl)
        self._overwrites += overwrites
        # A prime, so as not to keep step with the errors that the suite injects.
        if overwrites and self._overwrites % 31 == 0:
            raise BackendTimeout("no answer in time", outcome=Outcome.NOT_APPLIED)
        return version


class ACancelledCallPoisonsTheNext(Fault):
    """Answers the next read with the reply that the cancelled one left behind."""

    caught_by = "test_a_cancelled_read_leaves_the_connection_usable"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._left_behind: list[Entry | None] = []

    async def get(self, key: str) -> Entry | None:
        entry = await self.inner.get(key)
        if self._left_behind:
            return self._left_behind.pop()
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            self._left_behind.append(entry)
            raise
        return entry


class DeletedKeysComeBack(Fault):
    """A write that was overtaken by a delete is applied once more, as by a replay."""

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


class SlowWritesHoldUpTheRest(Fault):
    """One connection for all, on which a question waits for the answers before it."""

    caught_by = "test_slow_operations_do_not_delay_others"
    outermost = True

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._unanswered: set[asyncio.Future[None]] = set()

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        answered = asyncio.get_running_loop().create_future()
        self._unanswered.add(answered)
        try:
            return await self.inner.set(key, value, ttl=ttl)
        finally:
            self._unanswered.discard(answered)
            answered.set_result(None)

    async def exists(self, key: str) -> bool:
        if self._unanswered:
            await asyncio.wait([*self._unanswered])
        return await self.inner.exists(key)
