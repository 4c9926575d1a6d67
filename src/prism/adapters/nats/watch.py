"""Watches: events from the copies that the server republishes of each stored message.

A consumer would read the stream, where an overwritten value is already gone, and miss half the
writes of a fast writer. The copies include every write.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.encoding import (
    EXPIRY_ONLY,
    MARKER_REASON,
    OPERATION,
    decode_key,
    encode_version,
    prefix_filter,
)
from prism.adapters.nats.expiry import expiry_in
from prism.ports import Change, Event, WatchEnded

_MAX_EVENTS = 50_000
_MAX_BYTES = 64 << 20
_EXPIRED = "MaxAge"


@asynccontextmanager
async def watch(bucket: Bucket, prefix: str) -> AsyncIterator[AsyncIterator[Event]]:
    """Report the events under the prefix from when the context is entered."""
    events = EventBuffer(len(bucket.event_prefix))
    subject = bucket.event_prefix + prefix_filter(prefix)
    subscription = await bucket.connection.subscribe(subject, events.receive, events.overflow)
    try:
        # The leader of the stream answers this, and by then it knows the subscription.
        await bucket.refresh()
        bucket.on_interruption.add(events.end)
        if not bucket.connection.is_open:
            # It broke after the answer arrived and before this task continued.
            events.end(f"the connection broke: {bucket.connection.last_error}")
        yield events
    finally:
        bucket.on_interruption.discard(events.end)
        await bucket.connection.unsubscribe(subscription)


class EventBuffer:
    """Events that arrived and are not read yet; ends with a reason after a gap.

    Args:
        prefix_length: length of what precedes the encoded key in a subject.
    """

    def __init__(self, prefix_length: int) -> None:
        self._prefix_length = prefix_length
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._end_reason = ""
        self._changed = asyncio.Event()

    async def receive(self, message: Msg) -> None:
        """Add the event of a republished message."""
        if self._end_reason:
            return
        event = self._event(message)
        if event is None:
            return
        self._events.append(event)
        self._bytes += len(event.value or b"")
        self._changed.set()
        if len(self._events) > _MAX_EVENTS or self._bytes > _MAX_BYTES:
            self.overflow()

    def overflow(self) -> None:
        """End the watch: events were dropped."""
        self.end("its events were read too slowly")

    def end(self, reason: str) -> None:
        """End the watch after the events that are in the buffer."""
        self._end_reason = self._end_reason or reason
        self._changed.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._end_reason:
                raise WatchEnded(
                    f"the watch may have missed events: {self._end_reason}; "
                    "start a new watch and read the keys again"
                )
            self._changed.clear()
            await self._changed.wait()
        event = self._events.popleft()
        self._bytes -= len(event.value or b"")
        return event

    def _event(self, message: Msg) -> Event | None:
        headers = message.headers or {}
        key = decode_key(message.subject[self._prefix_length :])
        if key is None or EXPIRY_ONLY in headers:
            return None
        if MARKER_REASON in headers:
            expired = headers[MARKER_REASON] == _EXPIRED
            return Event(Change.EXPIRE if expired else Change.DELETE, key)
        if OPERATION in headers:
            return Event(Change.DELETE, key)
        expires = expiry_in(headers, 0) is not None
        version = encode_version(int(headers["Nats-Sequence"]), expires=expires)
        return Event(Change.PUT, key, message.data, version)
