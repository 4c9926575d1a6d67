"""Watches: events from the copies that the server republishes of each stored message.

A consumer would read the stream, where an overwritten value is already gone, and miss half the
writes of a fast writer. The copies include every write. An expiry becomes such a write too, by
`ExpiryMarker`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.encoding import (
    EXPIRED,
    EXPIRY_ONLY,
    MARKER_REASON,
    decode_key,
    decode_record,
    prefix_filter,
)
from prism.adapters.nats.expiry import epoch_ms
from prism.adapters.nats.expiry_marker import ExpiryMarker, NoteExpiry
from prism.ports import Change, Event, WatchEnded

_MAX_EVENTS = 50_000
_MAX_BYTES = 64 << 20
_MAX_AGE = "MaxAge"


@asynccontextmanager
async def watch(
    bucket: Bucket, marker: ExpiryMarker, prefix: str
) -> AsyncIterator[AsyncIterator[Event]]:
    """Report the events under the prefix, from the entry into the context on."""
    events = EventBuffer(len(bucket.event_prefix), marker.note)
    subject = bucket.event_prefix + prefix_filter(prefix)
    subscription = await bucket.connection.subscribe(subject, events.receive, events.overflow)
    try:
        # The leader of the stream answers this request; by then it knows the subscription.
        await bucket.refresh()
        bucket.on_interruption.add(events.end)
        if not bucket.connection.is_open:
            # The connection broke after the answer arrived and before this task continued.
            events.end(f"the connection broke: {bucket.connection.last_error}")
        with marker.watching(prefix):
            yield events
    finally:
        bucket.on_interruption.discard(events.end)
        await bucket.connection.unsubscribe(subscription)


class EventBuffer:
    """Events that arrived and are not read yet; ends with a reason after a gap.

    Args:
        prefix_length: length of what precedes the encoded key in a subject.
        note_expiry: called for each message, also for one that is not an event.
    """

    def __init__(self, prefix_length: int, note_expiry: NoteExpiry) -> None:
        self._prefix_length = prefix_length
        self._note_expiry = note_expiry
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
        if key is None:
            return None
        sequence, written_ms = int(headers["Nats-Sequence"]), epoch_ms(headers["Nats-Time-Stamp"])
        record = decode_record(message.data, headers, sequence, written_ms)
        if not record.exists:
            self._note_expiry(key, sequence, None)
            expired = EXPIRED in headers or headers.get(MARKER_REASON) == _MAX_AGE
            return Event(Change.EXPIRE if expired else Change.DELETE, key)
        self._note_expiry(key, sequence, record.expires_at_ms)
        if EXPIRY_ONLY in headers:
            return None
        return Event(Change.PUT, key, record.value, record.version)
