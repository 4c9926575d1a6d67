"""Events, by the copies that the server makes of the messages it has stored.

A consumer reads the stream, where a value that was overwritten meanwhile is gone, and
would tell of half the writes of a fast writer. The copies leave out none.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from nats.aio.msg import Msg

from prism.adapters.nats import keys
from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.records import (
    MARKER_REASON,
    OPERATION,
    RETIMED,
    has_expiry,
    version_of,
)
from prism.ports import Change, Event, WatchEnded

_MOST_EVENTS = 50_000
_MOST_BYTES = 64 << 20
_EXPIRED = "MaxAge"


@asynccontextmanager
async def watch(bucket: Bucket, prefix: str) -> AsyncIterator[AsyncIterator[Event]]:
    """Events under the prefix, from when the context is entered."""
    events = Events(len(bucket.events))
    subject = bucket.events + keys.subjects_under(prefix)
    subscription = await bucket.link.subscribe(subject, events.take, events.overrun)
    forget = bucket.link.when_lost(lambda reason: events.end(f"the connection broke: {reason}"))
    try:
        # Its answer comes from the leader of the stream, which knows of us by then.
        await bucket.describe()
        with bucket.when_led_anew(events.end):
            yield events
    finally:
        forget()
        await bucket.link.unsubscribe(subscription)


class Events:
    """What was reported and is not read yet; ends with the reason for a gap."""

    def __init__(self, prefix_length: int) -> None:
        self._prefix_length = prefix_length
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._reason = ""
        self._news = asyncio.Event()

    async def take(self, message: Msg) -> None:
        """Add what the message tells."""
        if self._reason:
            return
        event = self._event(message)
        if event is None:
            return
        self._events.append(event)
        self._bytes += len(event.value or b"")
        self._news.set()
        if len(self._events) > _MOST_EVENTS or self._bytes > _MOST_BYTES:
            self.overrun()

    def overrun(self) -> None:
        """Some were dropped."""
        self.end("it was read too slowly")

    def end(self, reason: str) -> None:
        """Nothing comes after what is there already."""
        self._reason = self._reason or reason
        self._news.set()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._reason:
                raise WatchEnded(
                    f"the watch may have missed something: {self._reason}; begin it again"
                )
            self._news.clear()
            await self._news.wait()
        event = self._events.popleft()
        self._bytes -= len(event.value or b"")
        return event

    def _event(self, message: Msg) -> Event | None:
        headers = message.headers or {}
        key = keys.decode(message.subject[self._prefix_length :])
        if key is None or RETIMED in headers:
            return None
        if MARKER_REASON in headers:
            expired = headers[MARKER_REASON] == _EXPIRED
            return Event(Change.EXPIRE if expired else Change.DELETE, key)
        if OPERATION in headers:
            return Event(Change.DELETE, key)
        version = version_of(int(headers["Nats-Sequence"]), expires=has_expiry(headers))
        return Event(Change.PUT, key, message.data, version)
