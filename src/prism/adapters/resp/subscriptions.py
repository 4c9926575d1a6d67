"""Messages that a connection gets unasked: channels of changed keys, and keys to forget."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prism.adapters.resp.errors import CommandError
from prism.ports import Event

if TYPE_CHECKING:
    from prism.adapters.resp.door import Database

log = logging.getLogger(__name__)

MAX_SUBSCRIPTIONS = 1000
"""Channels, patterns and prefixes of one connection."""

Listener = Callable[[Event], None]
"""Tells the client of an event, if it is meant for the subscription."""


class Subscriber(Protocol):
    """Connection with subscriptions.

    Attributes:
        is_congested: whether the client has much to read already.
        resp3: whether it takes pushes.
    """

    name: str
    resp3: bool

    @property
    def is_congested(self) -> bool: ...
    def restrain(self) -> None: ...
    def push(self, message: bytes) -> None: ...
    def close(self) -> None: ...


Name = tuple[str, bytes]
"""Kind and name of a subscription: a channel, a pattern, or a prefix that is tracked."""


class Keys(NamedTuple):
    """Keys that a subscription needs to know of."""

    database: Database
    prefix: str


class _Feed:
    """Watch of some keys for one connection.

    Attributes:
        listeners: what becomes of each event, by subscription.
        opened: done when the watch is active, or has failed.
    """

    def __init__(self, owner: Subscriptions, keys: Keys) -> None:
        self.listeners: dict[Name, Listener] = {}
        loop = asyncio.get_running_loop()
        self.opened: asyncio.Future[None] = loop.create_future()
        self._owner = owner
        self._keys = keys
        self._task = loop.create_task(self._run())

    def close(self) -> None:
        self._task.cancel()
        self.opened.cancel()

    async def _run(self) -> None:
        owner, opened = self._owner, self.opened
        try:
            async with self._keys.database.gateway.watch(self._keys.prefix) as events:
                opened.set_result(None)
                async for event in events:
                    for listener in tuple(self.listeners.values()):
                        listener(event)
                    # A client that reads too slowly holds up its watch, which the driver ends.
                    await owner.until_writable()
        except Exception as error:
            if not opened.done():
                opened.set_exception(error)
            else:
                owner.lost(error)


class Subscriptions:
    """Subscriptions of one connection; changes of a key are reported in the order of the events.

    Events may be missing after the end of a watch. So the connection is closed then: a client
    that connects again subscribes again, and knows that it has to.

    Attributes:
        names: what is subscribed to.
    """

    def __init__(self, session: Subscriber, redact: Callable[[str], str]) -> None:
        self._redact = redact
        self.names: dict[Name, tuple[Keys, ...]] = {}
        self._session = session
        self._feeds: dict[Keys, _Feed] = {}
        self._writable: asyncio.Event | None = None

    def count(self, *kinds: str) -> int:
        """Return the number of subscriptions of these kinds."""
        return sum(kind in kinds for kind, _ in self.names)

    def of_kind(self, kind: str) -> list[bytes]:
        """Return the names of the subscriptions of one kind."""
        return [name for each, name in self.names if each == kind]

    async def add(self, new: dict[Name, tuple[tuple[Keys, ...], Listener]]) -> None:
        """Subscribe to what happens from now on.

        Raises:
            CommandError: these would be too many.
            PrismError: the keys cannot be watched; nothing was subscribed to.
        """
        if len(self.names.keys() | new.keys()) > MAX_SUBSCRIPTIONS:
            raise CommandError(
                f"ERR the limit of {MAX_SUBSCRIPTIONS:,} subscriptions of this connection is "
                "reached: unsubscribe from some, or open another connection"
            )
        try:
            for every, _ in new.values():
                for keys in every:
                    if keys not in self._feeds:
                        self._feeds[keys] = _Feed(self, keys)
                    await asyncio.shield(self._feeds[keys].opened)
        except BaseException:
            self._close_unused()
            raise
        for name, (every, listener) in new.items():
            self.names[name] = every
            for keys in every:
                self._feeds[keys].listeners[name] = listener
        self._session.restrain()

    def remove(self, names: Iterable[Name]) -> None:
        """Unsubscribe, where there is a subscription."""
        for name in names:
            for keys in self.names.pop(name, ()):
                self._feeds[keys].listeners.pop(name, None)
        self._close_unused()
        self._session.restrain()

    def close(self) -> None:
        """End all subscriptions."""
        self.names.clear()
        for feed in self._feeds.values():
            feed.close()
        self._feeds.clear()
        self.go_on()

    def push(self, words: Sequence[bytes]) -> None:
        """Tell the client."""
        session = self._session
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in words]
        session.push(b"%b%d\r\n%b" % (b">" if session.resp3 else b"*", len(words), b"".join(parts)))

    def invalidate(self, key: bytes) -> None:
        """Tell the client to forget what it knows of a key."""
        self._session.push(b">2\r\n$10\r\ninvalidate\r\n*1\r\n$%d\r\n%b\r\n" % (len(key), key))

    def lost(self, error: Exception) -> None:
        """Close the connection, because a watch has ended."""
        text = self._redact(str(error))
        log.info("the subscriptions of %s end: %s", self._session.name, text)
        self._session.close()

    async def until_writable(self) -> None:
        """Wait while the client reads too slowly."""
        while self._session.is_congested:
            self._writable = asyncio.Event()
            await self._writable.wait()

    def go_on(self) -> None:
        """Let the watches go on that wait for the client."""
        if self._writable is not None:
            self._writable.set()

    def _close_unused(self) -> None:
        for keys, feed in tuple(self._feeds.items()):
            if not feed.listeners:
                feed.close()
                del self._feeds[keys]
