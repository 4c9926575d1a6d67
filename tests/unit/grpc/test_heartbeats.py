"""Heartbeats between the events of a watch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta

import pytest

from prism.adapters.grpc.servicers.heartbeats import with_heartbeats
from prism.ports import Change, Event, WatchEnded

LONG = timedelta(minutes=1)
LARGE = bytes(40 << 10)


class Events:
    """Events that are all there at once; then the watch ends.

    Attributes:
        read: number of events that were read.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[Event]:
        while self.read < self._count:
            self.read += 1
            yield Event(Change.PUT, str(self.read), LARGE)
        raise WatchEnded("a gap")


async def test_events_keep_their_order_and_are_not_read_far_ahead() -> None:
    events = Events(10)
    async with aclosing(with_heartbeats(aiter(events), LONG)) as readings:
        for number in range(1, 11):
            event = await anext(readings)
            assert event is not None
            assert event.key == str(number)
            assert events.read <= number + 2
            await asyncio.sleep(0)
        with pytest.raises(WatchEnded, match="a gap"):
            await anext(readings)


async def test_event_is_not_lost_to_a_heartbeat() -> None:
    arrived: asyncio.Queue[Event] = asyncio.Queue()

    async def read() -> AsyncIterator[Event]:
        while True:
            yield await arrived.get()

    async with aclosing(with_heartbeats(read(), timedelta(milliseconds=1))) as readings:
        for number in range(3):
            assert await anext(readings) is None
            event = Event(Change.DELETE, str(number))
            arrived.put_nowait(event)
            while (reading := await anext(readings)) is None:
                pass
            assert reading == event
    assert len(asyncio.all_tasks()) == 1


async def test_a_reader_that_is_cancelled_ends_the_watch() -> None:
    ended = asyncio.Event()

    async def read() -> AsyncIterator[Event]:
        try:
            await asyncio.Event().wait()
            yield Event(Change.DELETE, "never")
        finally:
            ended.set()

    async def consume() -> None:
        async with aclosing(with_heartbeats(read(), LONG)) as readings:
            await anext(readings)

    consumer = asyncio.create_task(consume())
    await asyncio.sleep(0.01)
    consumer.cancel()
    await asyncio.wait([consumer])
    assert consumer.cancelled()
    assert ended.is_set()
