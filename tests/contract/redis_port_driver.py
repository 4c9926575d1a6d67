"""Driver that reaches a Prism server by its port for Redis clients alone, with redis-py."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import hiredis
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError, ResponseError, WatchError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.maint_notifications import MaintNotificationsConfig

from prism.kit import ReplyBudget, check_conditions, version_conflict
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    BackendTimeout,
    BackendUnavailable,
    Capability,
    Change,
    Condition,
    Count,
    Declaration,
    DrainReport,
    DriverSpec,
    Entry,
    Event,
    Health,
    HealthStatus,
    InvalidArgument,
    Lifetime,
    Limits,
    NotServing,
    Page,
    Persisted,
    PreconditionFailed,
    PrismError,
    Profile,
    Put,
    Support,
    Version,
    VersionKind,
    WatchEnded,
    Write,
    setting,
)
from prism.version import VERSION

_CAPABILITIES = {
    Capability.TTL: Declaration(granularity=timedelta(milliseconds=1)),
    Capability.COMPARE_AND_SET: Declaration(),
    Capability.BATCH: Declaration(Support.EMULATED),
    Capability.SCAN: Declaration(),
    Capability.COUNTER: Declaration(),
    Capability.WATCH: Declaration(event_values=False, event_delay=timedelta(seconds=10)),
    Capability.TRANSACTIONS: Declaration(),
}

_MOST_KEYS = 1000

_TIMEOUT_S = 10.0
"""Time that the server has for a reply, far beyond what a busy machine needs."""

_HOST = "127.0.0.1"

_CONNECTIONS = 4
"""Connections that all operations share; each transaction and each watch needs one alone."""

_MILLISECOND = timedelta(milliseconds=1)
_CHANNEL = "__keyspace@0__:"
_CHANGES = {b"set": Change.PUT, b"del": Change.DELETE, b"expired": Change.EXPIRE}
_SPECIAL = re.compile(r"([*?\[\]\\])")


@dataclass(frozen=True, slots=True)
class RedisPortSettings:
    """Where the server listens for Redis clients."""

    port: int = setting(help="Port for Redis clients")


class RedisPortDriver:
    """Driver on redis-py.

    The protocol has no versions: it compares values (`IFEQ`). So the versions are digests of the
    values, and whether a value was written again in the meantime cannot be said.
    """

    def __init__(self) -> None:
        self.profile = Profile(
            "redis-port",
            VERSION,
            VersionKind.DIGEST,
            _CAPABILITIES,
            # A key that a transaction deletes counts twice, since it is read before.
            Limits(
                max_value_bytes=1 << 20, max_page_size=_MOST_KEYS, max_batch_items=_MOST_KEYS // 2
            ),
            shared=True,
        )
        self._client: Any = None
        self._port = 0

    async def initialize(self, settings: RedisPortSettings) -> None:
        # A command that failed is not sent again: it may have taken effect.
        self._port = settings.port
        pool = BlockingConnectionPool(
            host=_HOST,
            port=settings.port,
            retry=Retry(NoBackoff(), 0),
            protocol=3,
            socket_timeout=_TIMEOUT_S,
            max_connections=_CONNECTIONS,
            timeout=_TIMEOUT_S,
            # With them, redis-py does not look whether an idle connection is still open.
            maint_notifications_config=MaintNotificationsConfig(enabled=False),
        )
        self._client = Redis.from_pool(pool)
        await self._ask(self._client.ping())

    async def start(self) -> None:
        pass

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    async def health(self) -> Health:
        try:
            await self._ask(self._open.ping())
        except PrismError as error:
            return Health(HealthStatus.UNHEALTHY, error.message)
        return Health(HealthStatus.HEALTHY, "the port answers")

    async def get(self, key: str) -> Entry | None:
        (entry,) = await self._entries([key])
        return entry

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        await self._ask(self._open.set(key, value, px=_milliseconds(ttl)))
        return _version(value)

    async def delete(self, key: str) -> bool:
        return bool(await self._ask(self._open.delete(key)))

    async def exists(self, key: str) -> bool:
        return bool(await self._ask(self._open.exists(key)))

    async def expire(self, key: str, ttl: timedelta) -> bool:
        return bool(await self._ask(self._open.pexpire(key, _milliseconds(ttl))))

    async def ttl(self, key: str) -> Lifetime | None:
        left = await self._ask(self._open.pttl(key))
        if left == -2:
            return None
        return Lifetime() if left == -1 else Lifetime(left * _MILLISECOND)

    async def persist(self, key: str) -> Persisted:
        while not await self._ask(self._open.persist(key)):
            left = await self._ask(self._open.pttl(key))
            if left < 0:
                return Persisted.NO_KEY if left == -2 else Persisted.NO_EXPIRY
        return Persisted.EXPIRY_REMOVED

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        words: list[Any] = ["SET", key, value]
        words += ["NX"] if expected is None else ["IFEQ", await self._value_of(key, expected)]
        if ttl is not None:
            words += ["PX", _milliseconds(ttl)]
        # Nil: the key did not hold this value, whatever it has held before and since.
        if not await self._ask(self._open.execute_command(*words)):
            raise version_conflict(expected)
        return _version(value)

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        words = "DELEX", key, "IFEQ", await self._value_of(key, expected)
        if not await self._ask(self._open.execute_command(*words)):
            raise version_conflict(expected)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        budget = ReplyBudget(self.profile.limits.max_batch_bytes)
        return budget.limit(await self._entries(keys))

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        pipeline = self._open.pipeline(transaction=False)
        for put in puts:
            pipeline.set(put.key, put.value, px=_milliseconds(put.ttl))
        await self._ask(pipeline.execute())
        return [_version(put.value) for put in puts]

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        pipeline = self._open.pipeline(transaction=False)
        for key in keys:
            pipeline.delete(key)
        return [bool(count) for count in await self._ask(pipeline.execute())]

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        cursor = page_token or "0"
        if not (cursor.isascii() and cursor.isdecimal()):
            raise InvalidArgument("the page token is malformed")
        match = f"{_literal(prefix)}*"
        next_cursor, names = await self._ask(
            self._open.scan(cursor, match=match, count=page_size or 100)
        )
        keys = [name.decode() for name in names]
        token = str(next_cursor) if next_cursor else ""
        if not values:
            return Page(keys, None, token)
        found = dict(zip(keys, await self._entries(keys), strict=True))
        entries = {key: entry for key, entry in found.items() if entry is not None}
        return Page(list(entries), list(entries.values()), token)

    async def increment(self, key: str, delta: int = 1) -> Count:
        number = await self._ask(self._open.incrby(key, delta))
        return Count(number, _version(b"%d" % number))

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        while True:
            async with self._open.pipeline(transaction=True) as pipeline:
                # Refused: others have changed a key, and its condition may hold again.
                with suppress(WatchError):
                    return await self._apply(pipeline, conditions, writes)

    async def _apply(
        self, pipeline: Any, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        keys = [condition.key for condition in conditions]
        if keys:
            await self._ask(pipeline.watch(*keys))
            values = dict(zip(keys, await self._ask(pipeline.mget(keys)), strict=True))
            versions = {key: _version(value) for key, value in values.items() if value is not None}
            check_conditions(conditions, versions.get)
            pipeline.multi()
        for write in writes:
            if isinstance(write, Put):
                pipeline.set(write.key, write.value, px=_milliseconds(write.ttl))
            else:
                pipeline.delete(write.key)
        replies = await self._ask(pipeline.execute())
        return [
            _version(write.value) if isinstance(write, Put) else bool(reply)
            for write, reply in zip(writes, replies, strict=True)
        ]

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        # A connection without redis-py, which would subscribe again and hide a gap.
        try:
            reader, writer = await asyncio.open_connection(_HOST, self._port)
        except OSError as error:
            raise BackendUnavailable(str(error)) from None
        try:
            pattern = f"{_CHANNEL}{_literal(prefix)}*".encode()
            writer.write(b"*2\r\n$10\r\nPSUBSCRIBE\r\n$%d\r\n%b\r\n" % (len(pattern), pattern))
            replies = _replies_of(reader)
            if isinstance(refusal := await anext(replies), hiredis.ReplyError):
                raise _error_of(str(refusal))
            yield _events_of(replies)
        finally:
            writer.close()

    async def _entries(self, keys: Sequence[str]) -> list[Entry | None]:
        # Commands of others may run between two commands, except in a transaction.
        pipeline = self._open.pipeline(transaction=True)
        for key in keys:
            pipeline.get(key)
            pipeline.pexpiretime(key)
        replies = await self._ask(pipeline.execute())
        return [
            None if value is None else Entry(value, _version(value), at_ms if at_ms >= 0 else None)
            for value, at_ms in zip(replies[::2], replies[1::2], strict=True)
        ]

    async def _value_of(self, key: str, version: Version) -> bytes:
        """Return the value of a key, which must have this version."""
        value: bytes | None = await self._ask(self._open.get(key))
        if value is None or _version(value) != version:
            raise version_conflict(version)
        return value

    @property
    def _open(self) -> Any:
        if self._client is None:
            raise NotServing("the driver is not open")
        return self._client

    async def _ask(self, call: Awaitable[Any]) -> Any:
        """Return the reply; raise the error of the ports that an error reply stands for."""
        try:
            return await call
        except BusyLoadingError as error:
            raise NotServing(str(error)) from None
        except RedisTimeoutError as error:
            raise BackendTimeout(str(error)) from None
        except WatchError:
            raise
        except ResponseError as error:
            raise _error_of(str(error)) from None
        except RedisError as error:
            raise BackendUnavailable(str(error)) from None


async def _replies_of(reader: asyncio.StreamReader) -> AsyncIterator[Any]:
    parser = hiredis.Reader()
    while True:
        while (reply := parser.gets()) is not False:
            yield reply
        try:
            data = await reader.read(1 << 16)
        except OSError as error:
            raise WatchEnded(f"the connection is lost: {error}") from None
        if not data:
            # The port closes the connection when events may be missing.
            raise WatchEnded("the port has closed the connection")
        parser.feed(data)


async def _events_of(replies: AsyncIterator[Any]) -> AsyncIterator[Event]:
    async for _, _, channel, change in replies:
        yield Event(_CHANGES[change], channel.decode().removeprefix(_CHANNEL))


def _error_of(text: str) -> PrismError:
    if "not an integer" in text:
        return PreconditionFailed(text, reason="NOT_AN_INTEGER")
    if "overflow" in text:
        return PreconditionFailed(text, reason="OVERFLOW")
    return InvalidArgument(text)


def _milliseconds(ttl: timedelta | None) -> int | None:
    return None if ttl is None else -(-ttl // _MILLISECOND)


def _version(value: bytes) -> Version:
    return Version(int.from_bytes(hashlib.sha256(value).digest()[:8], "big"))


def _literal(prefix: str) -> str:
    return _SPECIAL.sub(r"\\\1", prefix)


DRIVER = DriverSpec(
    name="redis-port",
    version=VERSION,
    summary="The port for Redis clients of a Prism server",
    settings=RedisPortSettings,
    factory=RedisPortDriver,
    capabilities=_CAPABILITIES,
)
