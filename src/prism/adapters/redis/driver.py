"""The ports, on top of an executor of Redis commands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Never

import redis
from redis.exceptions import RedisClusterException

from prism.adapters.redis import operations
from prism.adapters.redis.address import Topology, parse
from prism.adapters.redis.cluster import Cluster
from prism.adapters.redis.executor import Executor
from prism.adapters.redis.failures import NotSent, translate
from prism.adapters.redis.inspection import NO_WATCH_ON_CLUSTER, WATCH_HINT, health_of, inspect
from prism.adapters.redis.profile import profile_of
from prism.adapters.redis.runner import Runner
from prism.adapters.redis.scanner import Scanner
from prism.adapters.redis.settings import RedisSettings
from prism.adapters.redis.single import Single
from prism.adapters.redis.watching import Watches
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Count,
    DrainReport,
    Entry,
    Event,
    Health,
    HealthStatus,
    Lifetime,
    NotServing,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
)

_log = logging.getLogger(__name__)


class Closed:
    """In the place of what is not open: no operation has to ask."""

    def __getattr__(self, name: str) -> Never:
        raise NotServing("the Redis driver is not open: it is not initialized yet, or was stopped")


_CLOSED: Any = Closed()


class Redis:
    """A key-value store in Redis."""

    def __init__(self) -> None:
        self._profile = profile_of(max_value_bytes=RedisSettings().max_value_bytes)
        self._key_prefix = b""
        self._details: dict[str, str] = {}
        self._closed()

    def _closed(self) -> None:
        self._executor: Executor = _CLOSED
        self._runner: Runner = _CLOSED
        self._scanner: Scanner = _CLOSED
        self._watches: Watches = _CLOSED

    @property
    def profile(self) -> Profile:
        """What the server allows, and the limit on values as it is set."""
        return self._profile

    async def get(self, key: str) -> Entry | None:
        return await self._runner.get(self._name(key))

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._runner.run(operations.set_(self._name(key), value, ttl))

    async def delete(self, key: str) -> bool:
        return await self._runner.run(operations.delete(self._name(key)))

    async def exists(self, key: str) -> bool:
        return await self._runner.run(operations.exists(self._name(key)))

    async def expire(self, key: str, ttl: timedelta) -> bool:
        return await self._runner.run(operations.expire(self._name(key), ttl))

    async def ttl(self, key: str) -> Lifetime | None:
        return await self._runner.run(operations.ttl(self._name(key)))

    async def persist(self, key: str) -> Persisted:
        return await self._runner.run(operations.persist(self._name(key)))

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        name = self._name(key)
        if expected is None:
            return await self._runner.run(operations.set_if_absent(name, value, ttl))
        return await self._runner.run(operations.set_if_version(name, value, expected, ttl))

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        await self._runner.run(operations.delete_if_version(self._name(key), expected))

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        limits = self._profile.limits
        return await self._runner.get_many(
            [self._name(key) for key in keys],
            room=limits.max_batch_bytes,
            largest=limits.max_value_bytes,
        )

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await self._runner.run_many(
            [operations.set_(self._name(put.key), put.value, put.ttl) for put in puts]
        )

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return await self._runner.run_many([operations.delete(self._name(key)) for key in keys])

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await self._scanner.page(
            prefix,
            page_size=page_size,
            page_token=page_token,
            values=values,
            limits=self._profile.limits,
        )

    async def increment(self, key: str, delta: int = 1) -> Count:
        return await self._runner.run(operations.increment(self._name(key), delta))

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._watches.watch(prefix)

    async def initialize(self, settings: RedisSettings) -> None:
        address = parse(settings.url)
        backend = str(address)
        clustered = address.topology is Topology.CLUSTER
        executor: Executor = (Cluster if clustered else Single)(settings, address)
        try:
            async with asyncio.timeout(settings.timeout.total_seconds()):
                await executor.open()
                findings = await inspect(executor, backend)
        except (redis.RedisError, RedisClusterException, OSError, TimeoutError) as error:
            await executor.close()
            raise translate(NotSent.because(error), backend) from None
        except BaseException:
            await executor.close()
            raise
        no_watch = NO_WATCH_ON_CLUSTER if clustered else "" if findings.watch else WATCH_HINT
        if no_watch:
            _log.info("Redis at %s offers no watch: %s", backend, no_watch)
        key_prefix = settings.key_prefix.encode()
        self._key_prefix = key_prefix
        self._profile = profile_of(max_value_bytes=settings.max_value_bytes, no_watch=no_watch)
        self._details = {"backend": backend, "redis_version": findings.version}
        if no_watch:
            self._details["watch"] = no_watch
        self._executor = executor
        self._runner = Runner(executor, backend)
        self._scanner = Scanner(executor, self._runner, key_prefix=key_prefix, clustered=clustered)
        self._watches = Watches(
            executor,
            backend=backend,
            db=address.db,
            key_prefix=key_prefix,
            timeout_s=settings.timeout.total_seconds(),
        )

    async def start(self) -> None:
        """Nothing to begin: the connections are open."""

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        executor, watches = self._executor, self._watches
        if executor is _CLOSED:
            return
        self._closed()
        await watches.close()
        await executor.close()

    async def health(self) -> Health:
        if self._executor is _CLOSED:
            return Health(HealthStatus.UNHEALTHY, "the Redis driver is not open")
        return await health_of(self._executor, self._details["backend"], self._details)

    def _name(self, key: str) -> bytes:
        """What the key is called in Redis."""
        return self._key_prefix + key.encode()
