"""Watch, made of Redis's keyspace notifications: key and kind of change, without the value."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import redis
from redis.asyncio.connection import AbstractConnection

from prism.adapters.redis.errors import NotSentError, translate
from prism.adapters.redis.executor import Executor
from prism.adapters.redis.operations import prefix_pattern
from prism.ports import Change, Event, WatchEnded

_PING_AFTER_S = 5.0
"""Time without a message after which the server is asked whether it is alive."""

# Notifications that are not listed, such as expire and persist, are not events.
_CHANGES = {
    **dict.fromkeys(
        (
            b"set", b"setrange", b"append", b"incrby", b"incrbyfloat", b"setbit",
            b"rename_to", b"move_to", b"copy_to", b"restore",
        ),
        Change.PUT,
    ),
    **dict.fromkeys((b"del", b"evicted", b"rename_from", b"move_from"), Change.DELETE),
    b"expired": Change.EXPIRE,
}  # fmt: skip


def are_notifications_sufficient(flags: str) -> bool:
    """Return whether a value of `notify-keyspace-events` covers every event of a watch."""
    return "K" in flags and ("A" in flags or set("g$xe") <= set(flags))


class Watcher:
    """The open watches of a driver, each on its own connection.

    A broken connection ends its watch, because changes since then are lost.
    """

    def __init__(
        self, executor: Executor, *, backend: str, db: int, key_prefix: bytes, timeout_s: float
    ) -> None:
        self._executor = executor
        self._backend = backend
        self._channel_prefix = b"__keyspace@%d__:%s" % (db, key_prefix)
        self._timeout_s = timeout_s
        self._connections: set[AbstractConnection] = set()

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[Event]]:
        connection = await self._subscribe(self._channel_prefix + prefix.encode())
        events = self._events(connection)
        self._connections.add(connection)
        try:
            yield events
        finally:
            self._connections.discard(connection)
            await connection.disconnect(nowait=True)
            await events.aclose()

    async def close(self) -> None:
        """End every watch."""
        for connection in list(self._connections):
            await connection.disconnect(nowait=True)

    async def _subscribe(self, channel_prefix: bytes) -> AbstractConnection:
        try:
            async with asyncio.timeout(self._timeout_s):
                connection = await self._executor.open_connection()
                try:
                    await connection.send_command(
                        "PSUBSCRIBE", prefix_pattern(channel_prefix), check_health=False
                    )
                    await connection.read_response()
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
        except (redis.RedisError, OSError, TimeoutError) as error:
            raise translate(NotSentError(error), self._backend) from None
        return connection

    async def _events(self, connection: AbstractConnection) -> AsyncGenerator[Event, None]:
        pinged = False
        while True:
            try:
                message = await connection.read_response(timeout=_PING_AFTER_S)
                if message is None:
                    # A PING on a closed connection would reopen it without the subscription.
                    if pinged or not connection.is_connected:
                        raise redis.ConnectionError("closed")
                    await connection.send_command("PING", check_health=False)
            except (redis.RedisError, OSError):
                raise WatchEnded(
                    f"the connection to Redis at {self._backend} broke, and events may be "
                    "missing: start a new watch and read the keys again"
                ) from None
            pinged = message is None
            if message is not None and message[0] == b"pmessage":
                _, _, channel, notification = message
                event = self._event(channel, notification)
                if event is not None:
                    yield event

    def _event(self, channel: bytes, notification: bytes) -> Event | None:
        change = _CHANGES.get(notification)
        try:
            key = channel[len(self._channel_prefix) :].decode()
        except UnicodeDecodeError:
            return None
        return Event(change, key) if change and key else None
