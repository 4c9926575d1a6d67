"""Errors while a server is down, and recovery without a restart of Prism."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    FullKeyValue,
    HealthStatus,
    Outcome,
    PrismError,
    ScanExpired,
    State,
    WatchEnded,
)
from tests.integration.patience import answer_to, opened
from tests.integration.redis.conftest import Open
from tests.servers.redis import RedisServer
from tests.servers.relay import TcpRelay

WITHIN_S = 10.0
"""Time limit of what needs no waiting, far below the tries of a client that goes on trying."""

WRITERS = 16


async def test_calls_fail_while_the_server_is_down_and_succeed_afterwards(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url) as backend:
        await backend.kv.set("key", b"value")
        await own_server.kill()
        began = time.monotonic()
        with pytest.raises(BackendUnavailable) as read:
            await backend.kv.get("key")
        assert str(own_server.port) in read.value.message
        with pytest.raises(BackendUnavailable) as write:
            await backend.kv.set("key", b"other")
        assert write.value.outcome is Outcome.NOT_APPLIED
        assert time.monotonic() - began < WITHIN_S
        assert (await backend.lifecycle.health()).status is HealthStatus.UNHEALTHY
        assert await backend.lifecycle.state() is State.RUNNING
        await own_server.start()
        entry = await backend.kv.get("key")
        assert entry is not None
        assert entry.value == b"value"
        await backend.kv.set("key", b"other")
        assert (await backend.kv.increment("number")).value == 1
        assert (await backend.lifecycle.health()).status is HealthStatus.HEALTHY


async def test_restart_between_two_calls_fails_no_call(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url) as backend:
        # Open every connection that the driver may keep.
        await asyncio.gather(*(backend.kv.set(f"{n}", b"value") for n in range(20)))
        await own_server.kill()
        await own_server.start()
        await asyncio.gather(*(backend.kv.set(f"{n}", b"other") for n in range(20)))


async def test_outcome_of_a_failed_write_is_true(own_server: RedisServer, open_redis: Open) -> None:
    outcomes: dict[str, Outcome | None] = {}
    stop = asyncio.Event()

    async def write(kv: FullKeyValue, writer: int) -> None:
        number = 0
        while not stop.is_set():
            key = f"{writer}/{number}"
            number += 1
            try:
                await kv.set(key, b"value")
            except PrismError as error:
                outcomes[key] = error.outcome
                await asyncio.sleep(0.01)
            else:
                outcomes[key] = None

    async with open_redis(own_server.url) as backend:
        writers = [asyncio.create_task(write(backend.kv, n)) for n in range(WRITERS)]
        for _ in range(3):
            written = sum(outcome is None for outcome in outcomes.values())
            while sum(outcome is None for outcome in outcomes.values()) < written + 200:
                await asyncio.sleep(0.001)
            await own_server.kill()
            failed = sum(outcome is not None for outcome in outcomes.values())
            while sum(outcome is not None for outcome in outcomes.values()) < failed + 20:
                await asyncio.sleep(0.001)
            await own_server.start()
            began = time.monotonic()
            await backend.kv.set("back", b"again")
            assert time.monotonic() - began < WITHIN_S
        stop.set()
        await asyncio.gather(*writers)
    found: list[bytes] = own_server.ask("KEYS", "prism:*")
    there = {name.decode().removeprefix("prism:") for name in found}
    assert {key for key, outcome in outcomes.items() if outcome is None} <= there
    assert {key for key, outcome in outcomes.items() if outcome is Outcome.NOT_APPLIED}
    assert not there & {key for key, outcome in outcomes.items() if outcome is Outcome.NOT_APPLIED}


async def test_write_with_a_lost_reply_is_unknown_and_not_repeated(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}") as backend,
    ):
        await backend.kv.increment("number")
        relay.drop_replies = True
        call = asyncio.create_task(backend.kv.increment("number"))
        while own_server.ask("GET", "prism:number") != b"2":
            await asyncio.sleep(0.005)
        relay.abort_connections()
        with pytest.raises(BackendUnavailable) as failure:
            await call
        assert failure.value.outcome is Outcome.UNKNOWN
        relay.drop_replies = False
        assert own_server.ask("GET", "prism:number") == b"2"
        assert (await backend.kv.increment("number")).value == 3


async def test_read_with_a_lost_reply_is_repeated(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}") as backend,
    ):
        await backend.kv.set("key", b"value")
        relay.drop_replies = True
        before = relay.round_trips
        call = asyncio.create_task(backend.kv.get("key"))
        while relay.round_trips == before:
            await asyncio.sleep(0.001)
        relay.drop_replies = False
        relay.abort_connections()
        entry = await call
        assert entry is not None
        assert entry.value == b"value"


async def test_calls_to_a_hanging_server_time_out(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with opened(open_redis, own_server.url, timeout="300ms", in_flight="2") as backend:
        await answer_to(lambda: backend.kv.set("key", b"old"))
        await own_server.pause()
        began = time.monotonic()
        writes = [backend.kv.set("key", b"%d" % number) for number in range(6)]
        errors = await asyncio.gather(*writes, return_exceptions=True)
        assert time.monotonic() - began < WITHIN_S
        assert all(isinstance(error, BackendTimeout) for error in errors)
        outcomes = [error.outcome for error in errors if isinstance(error, BackendTimeout)]
        # Two were sent; the others stayed in the queue.
        assert set(outcomes) == {Outcome.UNKNOWN, Outcome.NOT_APPLIED}
        await own_server.resume()
        entry = await answer_to(lambda: backend.kv.get("key"))
        assert entry is not None
        unsent = {b"%d" % n for n, each in enumerate(outcomes) if each is Outcome.NOT_APPLIED}
        assert entry.value not in unsent


async def test_restart_expires_a_scan(own_server: RedisServer, open_redis: Open) -> None:
    async with open_redis(own_server.url) as backend:
        await asyncio.gather(*(backend.kv.set(f"{n}", b"value") for n in range(50)))
        page = await backend.kv.scan(page_size=5)
        await own_server.kill()
        await own_server.start()
        with pytest.raises(ScanExpired):
            await backend.kv.scan(page_size=5, page_token=page.next_token)


async def test_restart_ends_a_watch(own_server: RedisServer, open_redis: Open) -> None:
    async with open_redis(own_server.url) as backend, backend.kv.watch() as events:
        await own_server.kill()
        with pytest.raises(WatchEnded):
            await anext(events)


async def test_stop_fails_the_calls_that_wait_for_a_hanging_server(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url, in_flight="1") as backend:
        await backend.kv.set("key", b"value")
        await own_server.pause()
        calls = [asyncio.create_task(backend.kv.set("key", b"other")) for _ in range(3)]
        await asyncio.sleep(0)
        await backend.lifecycle.stop(timedelta(seconds=1))
        for outcome in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(outcome, PrismError)
        await own_server.resume()
