"""Changes, out of Redis's keyspace notifications: which key and what, never the value."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis
from redis.asyncio.connection import AbstractConnection

from prism.adapters.redis.executor import Executor
from prism.adapters.redis.failures import NotSent, translate
from prism.adapters.redis.pooled import Cancellation
from prism.ports import Change, Event, WatchEnded

_QUIET_S = 5.0
"""After so long without a message the server is asked whether it is still there."""

_SPECIAL = re.compile(rb"[*?\[\]\\^-]")

# Whatever else is reported of a key, such as expire and persist, is no event.
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


_BROKEN = object()


def are_sent(flags: str) -> bool:
    """Whether `notify-keyspace-events` covers all that a watch reports."""
    return "K" in flags and ("A" in flags or set("g$xe") <= set(flags))


class Watches:
    """The watches of a driver, each with a connection of its own.

    No connection is ever repaired: what happened meanwhile is lost, and so the
    watch ends.
    """

    def __init__(
        self, executor: Executor, *, backend: str, db: int, key_prefix: bytes, timeout_s: float
    ) -> None:
        self._executor = executor
        self._backend = backend
        self._channels = b"__keyspace@%d__:%s" % (db, key_prefix)
        self._timeout_s = timeout_s
        self._open: set[AbstractConnection] = set()

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[Event]]:
        connection = await self._subscribed(self._channels + prefix.encode())
        events = self._events(connection)
        self._open.add(connection)
        try:
            yield events
        finally:
            self._open.discard(connection)
            await connection.disconnect(nowait=True)
            await events.aclose()

    async def close(self) -> None:
        """End every watch."""
        for connection in list(self._open):
            await connection.disconnect(nowait=True)

    async def _subscribed(self, begins: bytes) -> AbstractConnection:
        pattern = _SPECIAL.sub(rb"\\\g<0>", begins) + b"*"
        try:
            async with asyncio.timeout(self._timeout_s):
                cancellation = Cancellation()
                connection = await self._executor.dedicated()
                try:
                    cancellation.check()
                    await connection.send_command("PSUBSCRIBE", pattern, check_health=False)
                    await connection.read_response()
                except BaseException:
                    await connection.disconnect(nowait=True)
                    raise
        except (redis.RedisError, OSError, TimeoutError) as error:
            raise translate(NotSent.because(error), self._backend) from None
        return connection

    async def _events(self, connection: AbstractConnection) -> AsyncGenerator[Event, None]:
        asked = False
        while True:
            message = await _next(connection, asked=asked)
            if message is _BROKEN:
                raise WatchEnded(
                    f"the connection to Redis at {self._backend} broke, and events may be "
                    "missing: begin the watch again"
                )
            asked = message is None
            if message is not None and message[0] == b"pmessage":
                event = self._event(*message[2:])
                if event is not None:
                    yield event

    def _event(self, channel: bytes, happened: bytes) -> Event | None:
        change = _CHANGES.get(happened)
        try:
            key = channel[len(self._channels) :].decode()
        except UnicodeDecodeError:
            return None
        return Event(change, key) if change and key else None


async def _next(connection: AbstractConnection, *, asked: bool) -> Any:
    """The next message; None when it is quiet and the server has just been asked why."""
    try:
        message = await connection.read_response(timeout=_QUIET_S)
        if message is None:
            # Sending would open a closed connection again, without the subscription.
            if asked or not connection.is_connected:
                return _BROKEN
            await connection.send_command("PING", check_health=False)
    except (redis.RedisError, OSError):
        return _BROKEN
    return message
