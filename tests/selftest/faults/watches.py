"""Watches that report too much, too little, or something else."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from prism.ports import Change, Driver, Entry, Event, Version, WatchEnded
from tests.selftest.faults.fault import Fault

Watched: TypeAlias = AbstractAsyncContextManager[AsyncIterator[Event]]
_KEPT = 50
_KEPT_OF_MANY = 10_000
_DROPPED = 30


class DeletesAreNotReported(Fault):
    caught_by = "test_a_delete_is_reported"

    def watch(self, prefix: str = "") -> Watched:
        return _told(self.inner.watch(prefix), lambda event: event.change is not Change.DELETE)


class ExpiriesAreReportedAsDeletes(Fault):
    caught_by = "test_an_expiry_is_reported"

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async def mistaken(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
            async for event in events:
                expired = event.change is Change.EXPIRE
                yield event._replace(change=Change.DELETE) if expired else event

        async with self.inner.watch(prefix) as events:
            yield mistaken(events)


class OverwritesAreNotReported(Fault):
    caught_by = "test_an_overwrite_is_reported"

    def watch(self, prefix: str = "") -> Watched:
        held: set[str] = set()

        def is_told(event: Event) -> bool:
            if event.change is not Change.PUT:
                held.discard(event.key)
                return True
            known = event.key in held
            held.add(event.key)
            return not known

        return _told(self.inner.watch(prefix), is_told)


class EmptyValuesAreNotReported(Fault):
    caught_by = "test_an_empty_value_is_reported"

    def watch(self, prefix: str = "") -> Watched:
        return _told(self.inner.watch(prefix), lambda event: event.value != b"")


class ExpireIsReportedAsAPut(Fault):
    caught_by = "test_expire_and_persist_are_not_reported"

    async def expire(self, key: str, ttl: timedelta) -> bool:
        entry = await self.get(key)
        if entry is not None:
            await self.set(key, entry.value, ttl=ttl)
        return entry is not None


class WatchedPrefixesBleed(Fault):
    caught_by = "test_a_watch_reports_no_key_outside_its_prefix"

    def watch(self, prefix: str = "") -> Watched:
        return self.inner.watch(prefix[:-1])


class WatchedPrefixesArePatterns(Fault):
    caught_by = "test_a_watched_prefix_is_literal_text"

    def watch(self, prefix: str = "") -> Watched:
        return _told(self.inner.watch(""), lambda event: fnmatchcase(event.key, f"{prefix}*"))


class WatchesBeginInThePast(Fault):
    caught_by = "test_changes_before_the_watch_are_not_reported"

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        before = await self.scan(prefix, values=True)

        async def all_of(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
            for key, entry in zip(before.keys, before.entries or (), strict=True):
                yield Event(Change.PUT, key, entry.value, entry.version)
            async for event in events:
                yield event

        async with self.inner.watch(prefix) as events:
            yield all_of(events)


class WatchesBeginLate(Fault):
    caught_by = "test_changes_before_the_first_read_are_reported"

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        watch = self.inner.watch

        async def when_read() -> AsyncIterator[Event]:
            async with watch(prefix) as events:
                async for event in events:
                    yield event

        yield when_read()


class WatchesDropEvents(Fault):
    caught_by = "test_events_of_a_key_keep_their_order_under_load"

    def watch(self, prefix: str = "") -> Watched:
        count = 0

        def is_told(event: Event) -> bool:
            nonlocal count
            count += 1
            return count % _DROPPED != 0

        return _told(self.inner.watch(prefix), is_told)


class EventsAreReordered(Fault):
    caught_by = "test_events_of_a_key_keep_their_order_under_load"

    def watch(self, prefix: str = "") -> Watched:
        return _buffered(self.inner.watch(prefix), deque[Event](), deque.pop)


class SlowReadersMissEvents(Fault):
    caught_by = "test_a_slow_reader_gets_every_event_or_an_error"

    def watch(self, prefix: str = "") -> Watched:
        return _buffered(self.inner.watch(prefix), deque[Event](maxlen=_KEPT), deque.popleft)


class ReadersFarBehindMissEvents(Fault):
    """Has room for more events than most readers ever leave unread."""

    caught_by = "test_a_reader_far_behind_gets_every_event_or_an_error"

    def watch(self, prefix: str = "") -> Watched:
        kept = deque[Event](maxlen=_KEPT_OF_MANY)
        return _buffered(self.inner.watch(prefix), kept, deque.popleft)


class ConditionalWritesAreReportedFirst(Fault):
    """Reports a compare-and-set when it is sent."""

    caught_by = "test_a_read_after_an_event_shows_that_change_or_a_later_one"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._hidden: dict[str, Entry | None] = {}

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        entry = await self.inner.get(key)
        version = await self.inner.compare_and_set(key, value, expected=expected, ttl=ttl)
        self._hidden[key] = entry
        for _ in range(5):
            await asyncio.sleep(0)
        self._hidden.pop(key, None)
        return version

    async def get(self, key: str) -> Entry | None:
        if key in self._hidden:
            return self._hidden[key]
        return await self.inner.get(key)


@asynccontextmanager
async def _told(
    watch: Watched, is_told: Callable[[Event], bool]
) -> AsyncIterator[AsyncIterator[Event]]:
    """Some of the events."""
    async with watch as events:
        yield (event async for event in events if is_told(event))


@asynccontextmanager
async def _buffered(
    watch: Watched, buffer: deque[Event], take: Callable[[deque[Event]], Event]
) -> AsyncIterator[AsyncIterator[Event]]:
    """The events, read ahead."""
    news = asyncio.Event()

    async def fill(events: AsyncIterator[Event]) -> None:
        with suppress(WatchEnded):
            async for event in events:
                buffer.append(event)
                news.set()

    async def drain() -> AsyncIterator[Event]:
        while True:
            while buffer:
                yield take(buffer)
            news.clear()
            await news.wait()

    async with watch as events:
        filling = asyncio.create_task(fill(events))
        try:
            yield drain()
        finally:
            filling.cancel()
            with suppress(asyncio.CancelledError):
                await filling
