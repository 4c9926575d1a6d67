"""Messages that a connection gets unasked: channels of changed keys, and keys to forget."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from prism.adapters.resp.errors import CommandError
from prism.domain.connection_budget import ConnectionBudget
from prism.domain.turns import SHARE_S
from prism.ports import Event, Exhausted

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
    async def take_turns(self) -> None: ...
    def restrain(self) -> None: ...
    def push(self, message: bytes) -> None: ...
    def close(self) -> None: ...


Name = tuple[str, bytes]
"""Kind and name of a subscription: a channel, a pattern, or a prefix that is tracked."""


_NAME_BYTES, _BYTES_OF_A_BYTE = 256, 16
"""Memory of a subscription, and of each byte of its name: a pattern is compiled."""


def _size_of(name: Name) -> int:
    return _NAME_BYTES + _BYTES_OF_A_BYTE * len(name[1])


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
                    for name in tuple(self.listeners):
                        # A client that reads too slowly holds up its watch, which the driver ends.
                        await owner.until_ready()
                        if (listener := self.listeners.get(name)) is not None:
                            listener(event)
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

    def __init__(
        self, session: Subscriber, redact: Callable[[str], str], budget: ConnectionBudget
    ) -> None:
        self._redact = redact
        self._budget = budget
        self._counted = 0
        self.names: dict[Name, tuple[Keys, ...]] = {}
        self._session = session
        self._counts: Counter[str] = Counter()
        self._feeds: dict[Keys, _Feed] = {}
        self._writable = asyncio.Event()
        self._turn_began = 0.0

    def count(self, *kinds: str) -> int:
        """Return the number of subscriptions of these kinds."""
        return sum(self._counts[kind] for kind in kinds)

    def of_kind(self, kind: str) -> list[bytes]:
        """Return the names of the subscriptions of one kind."""
        return [name for each, name in self.names if each == kind]

    def check_number(self, kind: str, names: Iterable[bytes]) -> None:
        """Raise CommandError if these would be too many, before anything is done for each."""
        if len(self.names.keys() | {(kind, name) for name in names}) > MAX_SUBSCRIPTIONS:
            raise CommandError(
                f"ERR the limit of {MAX_SUBSCRIPTIONS:,} subscriptions of this connection is "
                "reached: unsubscribe from some, or open another connection"
            )

    async def add(self, new: dict[Name, tuple[tuple[Keys, ...], Listener]]) -> None:
        """Subscribe to what happens from now on.

        Raises:
            Exhausted: these would take too much memory.
            PrismError: the keys cannot be watched; nothing was subscribed to.
        """
        added = sum(map(_size_of, new.keys() - self.names.keys()))
        if not self._budget.fits(self._session.name, added):
            raise Exhausted(
                "the subscriptions take too much memory: unsubscribe from some, or use shorter "
                "names"
            )
        try:
            for every, _ in new.values():
                for keys in every:
                    if keys not in self._feeds:
                        self._feeds[keys] = _Feed(self, keys)
                    await asyncio.shield(self._feeds[keys].opened)
        except BaseException:
            self._close_unused([keys for every, _ in new.values() for keys in every])
            raise
        self._count(self._counted + added)
        for name, (every, listener) in new.items():
            self._counts[name[0]] += name not in self.names
            self.names[name] = every
            for keys in every:
                self._feeds[keys].listeners[name] = listener
        self._session.restrain()

    def remove(self, names: Iterable[Name]) -> None:
        """Unsubscribe, where there is a subscription."""
        for name in names:
            every = self.names.pop(name, ())
            if every:
                self._counts[name[0]] -= 1
                self._count(self._counted - _size_of(name))
            for keys in every:
                self._feeds[keys].listeners.pop(name, None)
            self._close_unused(every)
        self._session.restrain()

    def close(self) -> None:
        """End all subscriptions."""
        self.names.clear()
        self._counts.clear()
        self._count(0)
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

    async def until_ready(self) -> None:
        """Wait while the client reads too slowly, or others have their turn."""
        # A turn for each short look at an event would take longer than the look.
        if perf_counter() - self._turn_began > SHARE_S:
            await self._session.take_turns()
            self._turn_began = perf_counter()
        while self._session.is_congested:
            self._writable.clear()
            await self._writable.wait()

    def go_on(self) -> None:
        """Let the watches go on that wait for the client."""
        self._writable.set()

    def _count(self, size: int) -> None:
        """Count the memory of the subscriptions."""
        name = self._session.name
        if self._counted:
            self._budget.remove(name, self._counted)
        if size:
            self._budget.add(name, size)
        self._counted = size

    def _close_unused(self, every: Iterable[Keys]) -> None:
        for keys in every:
            feed = self._feeds.get(keys)
            if feed is not None and not feed.listeners:
                feed.close()
                del self._feeds[keys]
