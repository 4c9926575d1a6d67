"""Events of watches, and readers that are too slow."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.kit import watchers as limits
from prism.ports import Change, Event, NotServing, WatchEnded

SECOND = timedelta(seconds=1)


async def ready(events: AsyncIterator[Event]) -> list[Event]:
    """Return the events that can be read without waiting."""
    found: list[Event] = []
    reading = anext(events)
    while True:
        try:
            reading.__await__().send(None)
        except StopIteration as read:
            found.append(read.value)
            reading = anext(events)
        else:
            return found


async def test_an_expiry_is_reported_by_the_sweep(memstore: Memstore, clock: Any) -> None:
    async with memstore.watch("k") as events:
        version = await memstore.set("k", b"v", ttl=SECOND)
        assert await ready(events) == [Event(Change.PUT, "k", b"v", version)]
        clock.advance(1.1)
        assert await memstore.get("k") is None
        async with asyncio.timeout(30):
            assert await anext(events) == Event(Change.EXPIRE, "k")


async def test_a_put_of_an_expired_key_is_reported_without_the_expiry(
    memstore: Memstore, clock: Any
) -> None:
    await memstore.set("k", b"old", ttl=SECOND)
    clock.advance(5)
    async with memstore.watch("k") as events:
        version = await memstore.set("k", b"new")
        memstore._store.sweep(1)
        assert await ready(events) == [Event(Change.PUT, "k", b"new", version)]


async def test_a_key_dropped_to_make_room_is_reported_as_expired(
    open_memstore: Callable[[MemstoreSettings], Awaitable[Memstore]], clock: Any
) -> None:
    memstore = await open_memstore(MemstoreSettings(max_keys=1))
    await memstore.set("a", b"", ttl=SECOND)
    clock.advance(5)
    async with memstore.watch() as events:
        version = await memstore.set("b", b"")
        assert await ready(events) == [
            Event(Change.EXPIRE, "a"),
            Event(Change.PUT, "b", b"", version),
        ]


async def test_a_key_shorter_than_a_prefix_is_reported_once(memstore: Memstore) -> None:
    async with memstore.watch("a") as short, memstore.watch("abc") as long:
        for key in ("a", "ab", "abc", "b"):
            await memstore.set(key, b"")
        assert [event.key for event in await ready(short)] == ["a", "ab", "abc"]
        assert [event.key for event in await ready(long)] == ["abc"]


@pytest.mark.parametrize("large", [True, False], ids=["bytes", "events"])
async def test_a_watch_ends_after_the_kept_events_when_its_reader_is_too_far_behind(
    memstore: Memstore, monkeypatch: pytest.MonkeyPatch, large: bool
) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES" if large else "MAX_EVENTS", 100 if large else 10)
    async with memstore.watch() as events, memstore.watch("k9") as other:
        versions = [await memstore.set(f"k{number}", b"x" * 8) for number in range(30)]
        for version in versions[:10]:
            assert (await anext(events)).version == version
        for _ in range(2):
            with pytest.raises(WatchEnded, match="10 events behind"):
                await anext(events)
        assert [event.key for event in await ready(other)] == ["k9"]


async def test_a_single_event_may_be_larger_than_the_limit(
    memstore: Memstore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MAX_BYTES", 10)
    async with memstore.watch() as events:
        for _ in range(3):
            version = await memstore.set("k", b"x" * 100)
            assert await ready(events) == [Event(Change.PUT, "k", b"x" * 100, version)]


async def test_a_stop_ends_a_watch_after_the_reported_events(memstore: Memstore) -> None:
    async with memstore.watch() as events:
        await memstore.set("k", b"")
        await memstore.stop()
        assert (await anext(events)).key == "k"
        with pytest.raises(NotServing):
            await anext(events)


async def test_closed_watches_are_forgotten(memstore: Memstore) -> None:
    watchers = memstore._store.watchers
    async with memstore.watch("a"):
        async with memstore.watch("a"), memstore.watch("bb"):
            assert watchers.any
        assert watchers.any
    assert not watchers.any
    assert not watchers._by_length
