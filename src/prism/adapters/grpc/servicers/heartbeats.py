"""Heartbeats of a watch: messages without an event, for proxies that end a silent stream."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta

from prism.adapters.wire.keyvalue_messages import timedelta_of
from prism.ports import Event, InvalidArgument
from prism.v1 import keyvalue_pb2 as pb

SHORTEST_INTERVAL = timedelta(milliseconds=100)

_MAX_BYTES = 64 << 10
"""Maximum size of the events that are read ahead; a single event may be larger."""

_EVENT_OVERHEAD_BYTES = 64


def heartbeat_interval(request: pb.WatchRequest) -> timedelta | None:
    """Return the interval that a request asks for; None: it asks for no heartbeats.

    Raises:
        InvalidArgument: the interval is too short.
    """
    if not request.HasField("heartbeat_interval"):
        return None
    interval = timedelta_of(request.heartbeat_interval)
    if interval < SHORTEST_INTERVAL:
        raise InvalidArgument(
            f"heartbeat_interval is {interval.total_seconds():g} s; give at least "
            f"{SHORTEST_INTERVAL.total_seconds():g} s, or none for no heartbeats"
        )
    return interval


async def with_heartbeats(
    events: AsyncIterator[Event], interval: timedelta
) -> AsyncGenerator[Event | None, None]:
    """Yield the events, and None whenever there was none for the interval.

    Raises what reading the events raises. Closing it ends the reading of the events.
    """
    # A task of its own reads: an iterator whose reading is cancelled has ended.
    ahead = _EventsAhead()
    reading = asyncio.create_task(ahead.read(events))
    reading.add_done_callback(ahead.wake)
    try:
        while True:
            while ahead.events:
                yield ahead.take()
            if reading.done():
                reading.result()
                return
            await ahead.wait(interval.total_seconds())
            if not (ahead.events or reading.done()):
                yield None
    finally:
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)


class _EventsAhead:
    """Events that were read and not taken yet.

    Attributes:
        events: these events.
    """

    __slots__ = ("_loop", "_room", "_size", "_waiter", "events")

    def __init__(self) -> None:
        self.events: deque[Event] = deque()
        self._loop = asyncio.get_running_loop()
        self._size = 0
        self._room = asyncio.Event()
        self._waiter: asyncio.Future[None] | None = None

    async def read(self, events: AsyncIterator[Event]) -> None:
        """Read events, as far ahead as the limit permits."""
        async for event in events:
            self.events.append(event)
            self._size += _size(event)
            self.wake()
            if self._size >= _MAX_BYTES:
                self._room.clear()
                await self._room.wait()

    def take(self) -> Event:
        """Return the next event."""
        event = self.events.popleft()
        self._size -= _size(event)
        self._room.set()
        return event

    async def wait(self, seconds: float) -> None:
        """Wait until `wake` is called, or the time has passed."""
        self._waiter = self._loop.create_future()
        timer = self._loop.call_later(seconds, self.wake)
        try:
            await self._waiter
        finally:
            timer.cancel()

    def wake(self, _: object = None) -> None:
        """End the wait."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _size(event: Event) -> int:
    return len(event.value or b"") + _EVENT_OVERHEAD_BYTES
