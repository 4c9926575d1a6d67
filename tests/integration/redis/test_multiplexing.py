"""Callers that share a connection: each gets its own replies, also when others fail."""

from __future__ import annotations

import asyncio
import random

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Count,
    Entry,
    FullKeyValue,
    Outcome,
)
from prism.testing.suite.timing import wait_until
from tests.integration.patience import answer_to, opened
from tests.integration.redis.conftest import Open
from tests.servers.redis import RedisServer
from tests.servers.relay import TcpRelay

CALLS = 10_000
CANCELLED = 1_000
WORKERS = 250
CONNECTIONS = 2
"""One for small requests, one for large ones."""


def connections_of(server: RedisServer) -> list[dict[str, str]]:
    """Return the connections of the driver, as the server lists them.

    They are those of everyone but the asker: Redis 7.0 does not list the name of the library.
    """
    with server.client() as asker:
        own_id = str(asker.client_id())
        lines = asker.execute_command("CLIENT", "LIST").decode().splitlines()  # type: ignore[no-untyped-call]
    clients = [dict(each.split("=", 1) for each in line.split()) for line in lines]
    return [client for client in clients if client["id"] != own_id]


async def test_cancelled_calls_do_not_disturb_other_calls(
    own_server: RedisServer, open_redis: Open
) -> None:
    chance = random.Random(7)
    cancelled = set(chance.sample(range(CALLS), CANCELLED))
    delays = {number: chance.randrange(6) for number in cancelled}

    async def call(kv: FullKeyValue, number: int) -> object:
        """Call an operation whose result contains the number."""
        key = f"key {number}"
        if number % 3 == 0:
            await kv.set(key, key.encode())
            return await kv.get(key)
        if number % 3 == 1:
            return await kv.increment(key, number)
        return await kv.get_many([f"no {number}", f"given {number % 100}"])

    async def worker(kv: FullKeyValue, first: int) -> None:
        for number in range(first, CALLS, WORKERS):
            task = asyncio.create_task(call(kv, number))
            if number in cancelled:
                for _ in range(delays[number]):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                assert is_right(task.result(), number)

    def is_right(result: object, number: int) -> bool:
        if number % 3 == 0:
            return isinstance(result, Entry) and result.value == b"key %d" % number
        if number % 3 == 1:
            return getattr(result, "value", None) == number
        assert isinstance(result, list)
        absent, given = result
        return absent is None and given.value == b"%d" % (number % 100)

    async with open_redis(own_server.url) as backend:
        for number in range(100):
            await backend.kv.set(f"given {number}", b"%d" % number)
        tasks = asyncio.all_tasks()
        ids = {client["id"] for client in connections_of(own_server)}
        await asyncio.gather(*(worker(backend.kv, first) for first in range(WORKERS)))
        assert asyncio.all_tasks() <= tasks
        assert {client["id"] for client in connections_of(own_server)} == ids
        assert len(ids) == CONNECTIONS

    async def all_closed() -> bool:
        return not connections_of(own_server)

    await wait_until(all_closed, "every connection is closed")


async def test_calls_of_one_loop_iteration_share_a_round_trip(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}") as backend,
    ):
        before = relay.round_trips
        await asyncio.gather(*(backend.kv.set(f"{number}", b"value") for number in range(30)))
        assert relay.round_trips - before == 1


async def test_call_cancelled_before_it_is_sent_is_not_applied(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}", in_flight="1") as backend,
    ):
        before = relay.round_trips
        await own_server.pause()
        first = asyncio.create_task(backend.kv.set("first", b"value"))
        second = asyncio.create_task(backend.kv.set("second", b"value"))
        third = asyncio.create_task(backend.kv.set("third", b"value"))
        while relay.round_trips == before:
            await asyncio.sleep(0.001)
        second.cancel()
        await own_server.resume()
        await asyncio.gather(first, third)
        assert await backend.kv.exists("third") is True
        assert await backend.kv.exists("second") is False


async def test_queued_calls_are_sent_over_a_new_connection_after_a_break(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}", in_flight="1") as backend,
    ):
        relay.drop_replies = True
        calls = [asyncio.create_task(backend.kv.increment("number")) for _ in range(3)]
        while own_server.ask("GET", "prism:number") != b"1":
            await asyncio.sleep(0.001)
        relay.drop_replies = False
        relay.abort_connections()
        sent, *queued = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(sent, BackendUnavailable)
        assert sent.outcome is Outcome.UNKNOWN
        assert [getattr(count, "value", count) for count in queued] == [2, 3]


async def test_stalled_connection_is_replaced_and_no_call_is_repeated(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        opened(open_redis, f"redis://127.0.0.1:{relay.port}", timeout="300ms") as backend,
    ):
        relay.drop_replies = True
        with pytest.raises(BackendTimeout) as failure:
            await backend.kv.increment("number")
        assert failure.value.outcome is Outcome.UNKNOWN
        relay.drop_replies = False
        calls = 1

        async def count_again() -> Count:
            nonlocal calls
            calls += 1
            return await backend.kv.increment("number")

        # A call that timed out may have been sent, and none is sent twice.
        assert 2 <= (await answer_to(count_again)).value <= calls

        async def stalled_is_closed() -> bool:
            return len(connections_of(own_server)) == CONNECTIONS

        await wait_until(stalled_is_closed, "the stalled connection is closed")


async def test_connection_is_replaced_after_the_server_became_read_only(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url) as backend:
        before = {client["id"] for client in connections_of(own_server)}
        # A replica of itself never connects, and is read-only.
        own_server.ask("REPLICAOF", "127.0.0.1", own_server.port)
        with pytest.raises(BackendUnavailable, match="replica") as refusal:
            await backend.kv.set("key", b"value")
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        own_server.ask("REPLICAOF", "NO", "ONE")
        await backend.kv.set("key", b"value")
        after = {client["id"] for client in connections_of(own_server)}
        assert len(after - before) == 1


async def test_large_requests_use_another_connection(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url) as backend:
        await backend.kv.set("key", bytes(1 << 20))
        entry = await backend.kv.get("key")
        assert entry is not None
        assert entry.value == bytes(1 << 20)
        used = {client["cmd"] for client in connections_of(own_server)}
        assert used == {"evalsha", "pexpiretime"}


async def test_many_large_values_at_once_are_read_back_correctly(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url) as backend:
        values = {f"{number}": b"%d" % number * (1 << 17) for number in range(100)}
        await asyncio.gather(*(backend.kv.set(key, value) for key, value in values.items()))
        entries = await asyncio.gather(*(backend.kv.get(key) for key in values))
        found = [None if entry is None else entry.value for entry in entries]
        assert found == list(values.values())
