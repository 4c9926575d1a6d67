"""Watches of one process: each has a buffer of unread events, so no write waits for a reader."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from prism.ports import Change, Event, PrismError, Version, WatchEnded

MAX_EVENTS = 65_536
MAX_BYTES = 16 << 20
"""Maximum size of the events that one watch has not read; a single event may be larger."""


class Watchers:
    """Open watches by prefix, for a driver that sees every change itself.

    All methods are called in the thread of the event loop.

    Attributes:
        any: whether a watch is open; without one, `notify` need not be called.
    """

    __slots__ = ("_by_length", "any")

    def __init__(self) -> None:
        self.any = False
        # By the length of the prefix first: a key is sliced once for each length, so the cost
        # of an event does not grow with the number of prefixes.
        self._by_length: dict[int, dict[str, list[_Watcher]]] = {}

    @contextmanager
    def watching(self, prefix: str) -> Iterator[AsyncIterator[Event]]:
        """Open a watch; yield its events. Leaving the context closes it."""
        watcher = _Watcher()
        self._by_length.setdefault(len(prefix), {}).setdefault(prefix, []).append(watcher)
        self.any = True
        try:
            yield watcher
        finally:
            self._forget(prefix, watcher)

    def notify(
        self, change: Change, key: str, value: bytes | None = None, version: Version | None = None
    ) -> None:
        """Add an event to each watch whose prefix the key has."""
        event: Event | None = None
        for length, by_prefix in self._by_length.items():
            for watcher in by_prefix.get(key[:length], ()):
                event = event or Event(change, key, value, version)
                watcher.put(event)

    def end(self, error: PrismError) -> None:
        """Raise `error` to every reader after the events that it has not read yet."""
        for by_prefix in self._by_length.values():
            for watchers in by_prefix.values():
                for watcher in watchers:
                    watcher.end(error)

    def _forget(self, prefix: str, watcher: _Watcher) -> None:
        by_prefix = self._by_length[len(prefix)]
        by_prefix[prefix].remove(watcher)
        if not by_prefix[prefix]:
            del by_prefix[prefix]
            if not by_prefix:
                del self._by_length[len(prefix)]
        self.any = bool(self._by_length)


class _Watcher:
    """Events that one watch has not read yet."""

    __slots__ = ("_bytes", "_ending", "_events", "_waiting")

    def __init__(self) -> None:
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._waiting: asyncio.Future[None] | None = None
        self._ending: PrismError | None = None

    def put(self, event: Event) -> None:
        """Add an event; end the watch if its reader is too far behind."""
        if self._ending is not None:
            return
        self._bytes += _size(event)
        if self._events and (len(self._events) >= MAX_EVENTS or self._bytes > MAX_BYTES):
            self.end(
                WatchEnded(
                    f"the reader is {len(self._events):,} events behind, the limit of a watch:"
                    " start a new watch and read the keys again"
                )
            )
            return
        self._events.append(event)
        self._wake()

    def end(self, error: PrismError) -> None:
        """Raise `error` to the reader after the events that are here already."""
        if self._ending is None:
            self._ending = error
            self._wake()

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._ending is not None:
                raise self._ending
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        event = self._events.popleft()
        self._bytes -= _size(event)
        return event

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _size(event: Event) -> int:
    return len(event.key) + len(event.value or b"")
