"""Failover by Sentinel: the master dies, and its replica takes over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    FullKeyValue,
    Outcome,
    ScanExpired,
    WatchEnded,
)
from prism.testing.suite.timing import wait_until
from tests.integration.redis.conftest import Open
from tests.servers.redis_topologies import RedisSentinel

pytestmark = pytest.mark.slow

FAILOVER = timedelta(seconds=30)


@pytest.fixture
def sentinel() -> Iterator[RedisSentinel]:
    """Servers of this test alone, because it kills one."""
    with RedisSentinel() as sentinel:
        yield sentinel


async def test_calls_fail_as_unavailable_until_the_replica_takes_over(
    sentinel: RedisSentinel, open_redis: Open
) -> None:
    async with open_redis(sentinel.url) as backend:
        kv = backend.kv
        await asyncio.gather(*(kv.set(f"{number}", b"before") for number in range(50)))
        page = await kv.scan(page_size=5)
        old = sentinel.master
        (replica,) = (server for server in sentinel.servers if server is not old)

        async def replicated() -> bool:
            return bool(replica.ask("DBSIZE") == 50)

        await wait_until(replicated, "the replica has every key of the master")
        async with kv.watch() as events:
            await old.kill()
            with pytest.raises(WatchEnded):
                await anext(events)
        with pytest.raises(BackendUnavailable) as failure:
            await kv.set("during", b"value")
        assert failure.value.outcome is Outcome.NOT_APPLIED
        await wait_until(lambda: _can_write(kv), "a write succeeds again", FAILOVER)
        assert sentinel.master is replica
        assert replica.ask("GET", "prism:after") == b"value"
        entry = await kv.get("7")
        assert entry is not None
        assert entry.value == b"before"
        assert (await kv.increment("number")).value == 1
        with pytest.raises(ScanExpired):
            await kv.scan(page_size=5, page_token=page.next_token)


async def test_hanging_sentinel_is_skipped(sentinel: RedisSentinel, open_redis: Open) -> None:
    await sentinel.sentinels[0].pause()
    began = time.monotonic()
    async with open_redis(sentinel.url) as backend:
        await backend.kv.set("key", b"value")
    assert time.monotonic() - began < 10
    await sentinel.sentinels[0].resume()


async def _can_write(kv: FullKeyValue) -> bool:
    with suppress(BackendUnavailable, BackendTimeout):
        await kv.set("after", b"value")
        return True
    return False
