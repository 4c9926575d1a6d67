"""Watches with stale timers, and watches that end, or hold back, what they should report."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, TypeAlias

from prism.ports import Change, Driver, Entry, Event, PrismError, Put, Version, WatchEnded
from tests.selftest.faults.fault import Fault

Watched: TypeAlias = AbstractAsyncContextManager[AsyncIterator[Event]]
_MINUTE = timedelta(minutes=1)


class _Merged(Fault):
    """Watches that also report events of the fault itself; a subclass calls `report`."""

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._queues: dict[asyncio.Queue[Event | Exception], str] = {}

    def report(self, event: Event) -> None:
        """Add an event to each watch of its key."""
        for queue, prefix in self._queues.items():
            if event.key.startswith(prefix):
                queue.put_nowait(event)

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        queue: asyncio.Queue[Event | Exception] = asyncio.Queue()

        async def forward(events: AsyncIterator[Event]) -> None:
            try:
                async for event in events:
                    for each in self.told(event):
                        queue.put_nowait(each)
            except Exception as error:
                queue.put_nowait(error)

        async def read() -> AsyncIterator[Event]:
            while True:
                event = await queue.get()
                if isinstance(event, Exception):
                    raise event
                yield event

        async with self.inner.watch(prefix) as events:
            self._queues[queue] = prefix
            forwarding = asyncio.create_task(forward(events))
            try:
                yield read()
            finally:
                del self._queues[queue]
                forwarding.cancel()
                await asyncio.gather(forwarding, return_exceptions=True)

    def told(self, event: Event) -> Sequence[Event]:
        """Return what a watch reports for an event of the inner driver."""
        return [event]


class TimersAreNotCancelled(_Merged):
    """Expires keys by a timer for each `set` with a ttl, which nothing cancels."""

    caught_by = "test_a_key_that_no_longer_expires_is_not_reported_expired"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        version = await self.inner.set(key, value, ttl=ttl)
        if ttl is not None and ttl < _MINUTE and self._queues:
            event = Event(Change.EXPIRE, key)
            asyncio.get_running_loop().call_later(ttl.total_seconds(), self.report, event)
        return version

    def told(self, event: Event) -> Sequence[Event]:
        return [] if event.change is Change.EXPIRE else [event]


class ExpiriesAreReportedTwice(_Merged):
    caught_by = "test_an_expiry_is_reported_once"

    def told(self, event: Event) -> Sequence[Event]:
        return [event, event] if event.change is Change.EXPIRE else [event]


class ExpiriesAreReportedLate(_Merged):
    """Reports expiries with a delay, and so also after the next put."""

    caught_by = "test_no_expiry_is_reported_after_the_next_put"

    def told(self, event: Event) -> Sequence[Event]:
        if event.change is not Change.EXPIRE:
            return [event]
        asyncio.get_running_loop().call_later(0.2, self.report, event)
        return []

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        if ttl is None and self._queues:
            # As if the driver had not yet noticed the expiry: it is reported even so.
            version = await self.inner.set(key, value)
            asyncio.get_running_loop().call_later(0.05, self.report, Event(Change.EXPIRE, key))
            return version
        return await self.inner.set(key, value, ttl=ttl)


class ExpiriesOfExpireAreNotReported(_Merged):
    caught_by = "test_the_expiry_of_every_ttl_write_is_reported_in_time"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._changed: set[str] = set()

    async def expire(self, key: str, ttl: timedelta) -> bool:
        self._changed.add(key)
        return await self.inner.expire(key, ttl)

    def told(self, event: Event) -> Sequence[Event]:
        return [] if event.change is Change.EXPIRE and event.key in self._changed else [event]


class EqualPutsAreNotReported(_Merged):
    caught_by = "test_a_put_of_the_same_value_is_reported"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._last: dict[str, bytes | None] = {}

    def told(self, event: Event) -> Sequence[Event]:
        same = event.change is Change.PUT and self._last.get(event.key) == event.value
        self._last[event.key] = event.value
        return [] if same else [event]


class TheEndOfABatchIsHeldBack(_Merged):
    caught_by = "test_the_last_items_of_a_batch_are_reported"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._last: str | None = None

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        self._last = puts[-1].key if len(puts) > 100 else None
        return await self.inner.set_many(puts)

    def told(self, event: Event) -> Sequence[Event]:
        return [] if event.key == self._last else [event]


class DuplicatesInABatchAreMerged(Fault):
    caught_by = "test_a_key_set_twice_in_a_batch_is_reported_twice"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        last = {put.key: put for put in puts}
        outcomes = await self.inner.set_many(list(last.values()))
        by_key = dict(zip(last, outcomes, strict=True))
        return [by_key[put.key] for put in puts]


class LeavingAWatchEndsItsTwin(Fault):
    caught_by = "test_closing_a_watch_does_not_end_another_of_the_same_prefix"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._open: Counter[str] = Counter()
        self._left: set[str] = set()

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async def until_left(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
            async for event in events:
                if prefix in self._left:
                    raise WatchEnded("unsubscribed")
                yield event

        if not self._open[prefix]:
            self._left.discard(prefix)
        self._open[prefix] += 1
        try:
            async with self.inner.watch(prefix) as events:
                yield until_left(events)
        finally:
            self._open[prefix] -= 1
            self._left.add(prefix)


class WatchesLeaveATask(Fault):
    caught_by = "test_closed_watches_leave_no_task_and_no_descriptor"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._tasks: list[asyncio.Task[object]] = []

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        self._tasks.append(asyncio.create_task(asyncio.Event().wait()))
        async with self.inner.watch(prefix) as events:
            yield events


class BytesOfAWatchAreNotGivenBack(Fault):
    caught_by = "test_a_reader_who_keeps_up_is_never_ended"

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async def counted(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
            passed = 0
            async for event in events:
                passed += len(event.value or b"")
                if passed > 16 << 20:
                    raise WatchEnded("the reader is too slow")
                yield event

        async with self.inner.watch(prefix) as events:
            yield counted(events)


class EventsPrecedeReads(Fault):
    """Shows a write to watches first and to reads a moment later, still before it answers."""

    caught_by = "test_a_read_after_an_event_shows_that_change_or_a_later_one"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._watches = 0
        self._before: dict[str, Entry | None] = {}

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        self._watches += 1
        try:
            async with self.inner.watch(prefix) as events:
                yield events
        finally:
            self._watches -= 1

    async def get(self, key: str) -> Entry | None:
        return self._before[key] if key in self._before else await self.inner.get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        if not self._watches or key in self._before:
            return await self.inner.set(key, value, ttl=ttl)
        self._before[key] = await self.inner.get(key)
        try:
            version = await self.inner.set(key, value, ttl=ttl)
            await asyncio.sleep(0.001)
            return version
        finally:
            del self._before[key]
