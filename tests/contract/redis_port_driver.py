"""Driver that reaches a Prism server by its port for Redis clients alone, with redis-py."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from prism.kit import ReplyBudget
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    BackendUnavailable,
    Capability,
    Count,
    Declaration,
    DrainReport,
    DriverSpec,
    Entry,
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
    setting,
)
from prism.version import VERSION

_CAPABILITIES = {
    Capability.TTL: Declaration(granularity=timedelta(milliseconds=1)),
    Capability.BATCH: Declaration(Support.EMULATED),
    Capability.SCAN: Declaration(),
    Capability.COUNTER: Declaration(),
}

_MOST_KEYS = 1000

_MILLISECOND = timedelta(milliseconds=1)
_SPECIAL = re.compile(r"([*?\[\]\\])")


@dataclass(frozen=True, slots=True)
class RedisPortSettings:
    """Where the server listens for Redis clients."""

    port: int = setting(help="Port for Redis clients")


class RedisPortDriver:
    """Driver on redis-py. Versions are digests, as the protocol has none."""

    def __init__(self) -> None:
        self.profile = Profile(
            "redis-port",
            VERSION,
            VersionKind.DIGEST,
            _CAPABILITIES,
            Limits(max_value_bytes=1 << 20, max_page_size=_MOST_KEYS),
            ephemeral=True,
            shared=False,
        )
        self._client: Any = None

    async def initialize(self, settings: RedisPortSettings) -> None:
        # A command that failed is not sent again: it may have taken effect.
        self._client = Redis(port=settings.port, retry=Retry(NoBackoff(), 0), protocol=3)
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
        # The reply to each is exact; a transaction would count the ttl by another clock.
        pipeline = self._open.pipeline(transaction=False)
        pipeline.get(key)
        pipeline.pexpiretime(key)
        value, expires_at_ms = await self._ask(pipeline.execute())
        if value is None:
            return None
        return Entry(value, _version(value), expires_at_ms if expires_at_ms >= 0 else None)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        px = None if ttl is None else -(-ttl // _MILLISECOND)
        await self._ask(self._open.set(key, value, px=px))
        return _version(value)

    async def delete(self, key: str) -> bool:
        return bool(await self._ask(self._open.delete(key)))

    async def exists(self, key: str) -> bool:
        return bool(await self._ask(self._open.exists(key)))

    async def expire(self, key: str, ttl: timedelta) -> bool:
        return bool(await self._ask(self._open.pexpire(key, -(-ttl // _MILLISECOND))))

    async def ttl(self, key: str) -> Lifetime | None:
        left = await self._ask(self._open.pttl(key))
        if left == -2:
            return None
        return Lifetime() if left == -1 else Lifetime(left * _MILLISECOND)

    async def persist(self, key: str) -> Persisted:
        pipeline = self._open.pipeline(transaction=True)
        pipeline.exists(key)
        pipeline.persist(key)
        existed, removed = await self._ask(pipeline.execute())
        if not existed:
            return Persisted.NO_KEY
        return Persisted.EXPIRY_REMOVED if removed else Persisted.NO_EXPIRY

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        budget = ReplyBudget(self.profile.limits.max_batch_bytes)
        return budget.limit([await self.get(key) for key in keys])

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        pipeline = self._open.pipeline(transaction=False)
        for put in puts:
            pipeline.set(
                put.key, put.value, px=None if put.ttl is None else -(-put.ttl // _MILLISECOND)
            )
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
        found = dict(zip(keys, [await self.get(key) for key in keys], strict=True))
        entries = {key: entry for key, entry in found.items() if entry is not None}
        return Page(list(entries), list(entries.values()), token)

    async def increment(self, key: str, delta: int = 1) -> Count:
        number = await self._ask(self._open.incrby(key, delta))
        return Count(number, _version(b"%d" % number))

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
        except RedisConnectionError as error:
            raise BackendUnavailable(str(error)) from None
        except ResponseError as error:
            raise _error_of(str(error)) from None


def _error_of(text: str) -> PrismError:
    if "not an integer" in text:
        return PreconditionFailed(text, reason="NOT_AN_INTEGER")
    if "overflow" in text:
        return PreconditionFailed(text, reason="OVERFLOW")
    return InvalidArgument(text)


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
