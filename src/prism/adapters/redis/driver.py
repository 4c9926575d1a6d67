"""The Redis driver: implements the ports on an executor of Redis commands."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta

import redis
from redis.exceptions import RedisClusterException

from prism.adapters.redis import operations
from prism.adapters.redis.access import login_of
from prism.adapters.redis.cluster import ClusterExecutor
from prism.adapters.redis.errors import (
    NotSentError,
    is_about_one_key,
    is_connection_lost,
    is_denied,
    translate,
)
from prism.adapters.redis.executor import (
    Executor,
    OperationRunner,
    Server,
    SingleServerExecutor,
    send_batch,
)
from prism.adapters.redis.permissions import Place, report_permissions
from prism.adapters.redis.profile import (
    NO_WATCH_ON_CLUSTER,
    inspect_servers,
    make_profile,
)
from prism.adapters.redis.scan import Scanner
from prism.adapters.redis.settings import RedisSettings, Topology, parse_url, uses_tls
from prism.adapters.redis.watch import Watcher
from prism.kit import closed
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    BackendTimeout,
    Condition,
    Count,
    DrainReport,
    Entry,
    Event,
    Health,
    HealthStatus,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
    Write,
)

_log = logging.getLogger(__name__)


_CLOSED = closed("the Redis driver")


class Redis:
    """Key-value store in Redis."""

    def __init__(self) -> None:
        self._profile = make_profile(max_value_bytes=RedisSettings().max_value_bytes)
        self._key_prefix = b""
        self._probe_key = b""
        self._details: dict[str, str] = {}
        self._set_closed()

    def _set_closed(self) -> None:
        self._executor: Executor = _CLOSED
        self._runner: OperationRunner = _CLOSED
        self._scanner: Scanner = _CLOSED
        self._watcher: Watcher = _CLOSED

    @property
    def profile(self) -> Profile:
        """Capabilities that the server allows, and the limits from the settings."""
        return self._profile

    async def get(self, key: str) -> Entry | None:
        return await self._runner.get(self._redis_key(key))

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._runner.run(operations.set_(self._redis_key(key), value, ttl))

    async def delete(self, key: str) -> bool:
        return await self._runner.run(operations.delete(self._redis_key(key)))

    async def exists(self, key: str) -> bool:
        return await self._runner.run(operations.exists(self._redis_key(key)))

    async def expire(self, key: str, ttl: timedelta) -> bool:
        return await self._runner.run(operations.expire(self._redis_key(key), ttl))

    async def ttl(self, key: str) -> Lifetime | None:
        return await self._runner.run(operations.ttl(self._redis_key(key)))

    async def persist(self, key: str) -> Persisted:
        return await self._runner.run(operations.persist(self._redis_key(key)))

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        redis_key = self._redis_key(key)
        if expected is None:
            return await self._runner.run(operations.set_if_absent(redis_key, value, ttl))
        return await self._runner.run(operations.set_if_version(redis_key, value, expected, ttl))

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        await self._runner.run(operations.delete_if_version(self._redis_key(key), expected))

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        limits = self._profile.limits
        return await self._runner.get_many(
            [self._redis_key(key) for key in keys],
            byte_budget=limits.max_batch_bytes,
            max_value_bytes=limits.max_value_bytes,
        )

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await self._runner.run_many(
            [operations.set_(self._redis_key(put.key), put.value, put.ttl) for put in puts]
        )

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return await self._runner.run_many(
            [operations.delete(self._redis_key(key)) for key in keys]
        )

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
        return await self._runner.run(operations.increment(self._redis_key(key), delta))

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        keys = [self._redis_key(item.key) for item in (*conditions, *writes)]
        self._executor.check_together(keys)
        return await self._runner.run(operations.apply(keys, conditions, writes))

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self._watcher.watch(prefix)

    async def initialize(self, settings: RedisSettings) -> None:
        address = parse_url(settings.url)
        backend = str(address)
        clustered = address.topology is Topology.CLUSTER
        executor: Executor = (ClusterExecutor if clustered else SingleServerExecutor)(
            settings, address
        )
        try:
            async with asyncio.timeout(settings.timeout.total_seconds()):
                await executor.open()
                facts = await inspect_servers(executor, backend, _probe_key(settings))
                no_watch = NO_WATCH_ON_CLUSTER if clustered else facts.no_watch
                place = Place(
                    key_prefix=settings.key_prefix.encode(),
                    probe_key=_probe_key(settings),
                    db=address.db,
                    clustered=clustered,
                    watches=not no_watch,
                )
                await report_permissions(executor, place, login_of(settings, address))
        except (redis.RedisError, RedisClusterException, OSError, TimeoutError) as error:
            await executor.close()
            failure = translate(NotSentError(error), backend)
            if isinstance(failure, BackendTimeout) and uses_tls(settings, address):
                # A Redis without TLS reads the handshake as a command and waits for the rest.
                failure = BackendTimeout(f"{failure.message}: does it speak TLS?")
            raise failure from None
        except BaseException:
            await executor.close()
            raise
        self._details = {"backend": backend, "redis_version": facts.version}
        if no_watch:
            _log.info("Redis at %s does not offer watch: %s", backend, no_watch)
            self._details["watch"] = no_watch
        self._profile = make_profile(max_value_bytes=settings.max_value_bytes, no_watch=no_watch)
        self._key_prefix = settings.key_prefix.encode()
        self._probe_key = _probe_key(settings)
        self._executor = executor
        self._runner = OperationRunner(executor, backend)
        self._scanner = Scanner(
            executor, self._runner, key_prefix=self._key_prefix, clustered=clustered
        )
        self._watcher = Watcher(
            executor,
            backend=backend,
            db=address.db,
            key_prefix=self._key_prefix,
            timeout_s=settings.timeout.total_seconds(),
        )

    async def reload(self, settings: RedisSettings) -> None:
        """Use the secrets in these settings for further connections."""
        self._executor.reload(settings, parse_url(settings.url))

    async def start(self) -> None:
        """Do nothing: the connections are open."""

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        executor, watcher = self._executor, self._watcher
        if executor is _CLOSED:
            return
        self._set_closed()
        await watcher.close()
        await executor.close()

    async def health(self) -> Health:
        """Return whether every server does what callers need; `keys` counts all of the database.

        Unhealthy if a server does not serve reads, or is a read-only replica; degraded if it
        refuses writes because its memory or its disk is full or its replicas are away.
        """
        if self._executor is _CLOSED:
            return Health(HealthStatus.UNHEALTHY, "the Redis driver is not open")
        backend = self._details["backend"]
        details = dict(self._details)
        keys = 0
        refusal = ""
        try:
            for server in await self._executor.servers():
                count, write_error = await self._check(server)
                keys += count
                if write_error is not None:
                    refusal = translate(write_error, backend).message
        except Exception as failure:
            message = translate(failure, backend).message
            return Health(HealthStatus.UNHEALTHY, message, {**details, "last_error": message})
        details |= {"keys": str(keys), "connections": str(self._executor.connection_count)}
        if refusal:
            details["last_error"] = refusal
            return Health(HealthStatus.DEGRADED, refusal, details)
        return Health(HealthStatus.HEALTHY, f"Redis at {backend} answers", details)

    async def _check(self, server: Server) -> tuple[int, Exception | None]:
        """Return the number of keys, and the error with which the server refuses writes.

        Raises:
            redis.RedisError: the server does not serve reads, or is a read-only replica.
            NotSentError: the server cannot be reached.
        """
        key = self._probe_key
        probe = (operations.get(key), operations.refused_write(key), operations.key_count(key))
        reads, (written,), (count,) = await send_batch(server, probe, retryable=True)
        for reply in reads:
            if isinstance(reply, Exception) and not is_about_one_key(reply):
                raise reply
        if isinstance(written, redis.ReadOnlyError) or is_connection_lost(written):
            raise written
        is_refused = isinstance(written, Exception) and not (
            is_about_one_key(written) or is_denied(written)
        )
        return (
            0 if isinstance(count, Exception) else count,
            written if is_refused else None,
        )

    def _redis_key(self, key: str) -> bytes:
        return self._key_prefix + key.encode()


def _probe_key(settings: RedisSettings) -> bytes:
    """Return a key for checks that no caller can have: it is not UTF-8."""
    return settings.key_prefix.encode() + b"\xff probe"
