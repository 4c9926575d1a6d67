"""A proxy serves Redis clients too: SELECT chooses the pattern."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from prism import connect_admin
from tests.integration.conftest import TIMEOUT_S, ProxyServer, Server
from tests.integration.resp.conftest import port_of

PATTERNS = ("--pattern", "cache=memstore", "--pattern", "sessions=memstore")


def test_a_client_chooses_a_pattern_and_outlives_its_process(
    start_server: Callable[..., Server],
) -> None:
    options = ("--resp-port", "0", "--start-timeout", "25s")
    proxy = start_server(*PATTERNS, *options, kind=ProxyServer).serving()
    port = port_of(proxy)
    no_retry = Retry(NoBackoff(), 0)
    with (
        redis.Redis(port=port, retry=no_retry) as cache,
        redis.Redis(port=port, db=1, protocol=3, retry=no_retry) as sessions,
    ):
        assert cache.set("k", "cached", ex=60)
        assert sessions.get("k") is None
        assert sessions.incrby("n", 5) == 5
        with sessions.pipeline(transaction=True) as pipeline:
            pipeline.set("a", 1)
            pipeline.incr("a")
            assert pipeline.execute() == [True, 2]
        assert list(sessions.scan_iter()) in ([b"a", b"n"], [b"n", b"a"])
        assert cache.keys("*") == [b"k"]
        with pytest.raises(redis.ResponseError, match="DB index is out of range"):
            redis.Redis(port=port, db=2, retry=no_retry).ping()

        os.kill(_process_of("sessions", proxy), signal.SIGKILL)
        # The other pattern is not affected, and this one serves again.
        deadline = time.monotonic() + TIMEOUT_S
        refusals = []
        while True:
            assert cache.get("k") == b"cached"
            try:
                # The embedded store has forgotten its keys.
                if sessions.get("n") is None:
                    break
            except redis.RedisError as error:
                refusals.append(str(error))
                time.sleep(0.02)
            assert time.monotonic() < deadline, refusals
        assert any("the pattern 'sessions' is" in text for text in refusals), refusals
        assert sessions.set("n", "1")


def _process_of(pattern: str, proxy: Server) -> int:
    """Return the process id of a pattern."""

    async def ask() -> int | None:
        async with connect_admin(proxy.address) as admin:
            return (await admin.patterns.get(pattern)).pattern.status.process_id

    found = asyncio.run(ask())
    assert found is not None
    return found
