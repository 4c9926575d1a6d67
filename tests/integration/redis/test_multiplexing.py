"""Callers that share a connection: each gets its own answer, whatever becomes of the others."""

from __future__ import annotations

import asyncio
import random

import pytest

from prism.ports import BackendTimeout, BackendUnavailable, Entry, FullKeyValue, Outcome
from prism.testing.suite.timing import wait_until
from tests.integration.redis.conftest import Open
from tests.servers.redis import RedisServer
from tests.servers.relay import Relay

CALLS = 10_000
CANCELLED = 1_000
AT_ONCE = 250
SHARED = 2
"""Connections: one for small requests, one for large."""


def connections_of(server: RedisServer) -> list[dict[str, str]]:
    """Those of Prism, as the server has them."""
    lines = server.ask("CLIENT", "LIST").decode().splitlines()
    clients = [dict(each.split("=", 1) for each in line.split()) for line in lines]
    return [client for client in clients if client["lib-name"].startswith("prism")]


async def test_a_thousand_cancelled_calls_among_ten_thousand_disturb_nobody(
    own_server: RedisServer, open_redis: Open
) -> None:
    chance = random.Random(7)
    cancelled = set(chance.sample(range(CALLS), CANCELLED))
    turns = {number: chance.randrange(6) for number in cancelled}

    async def call(kv: FullKeyValue, number: int) -> object:
        """Whatever is right in an answer has the number in it."""
        key = f"key {number}"
        if number % 3 == 0:
            await kv.set(key, key.encode())
            return await kv.get(key)
        if number % 3 == 1:
            return await kv.increment(key, number)
        return await kv.get_many([f"no {number}", f"given {number % 100}"])

    async def worker(kv: FullKeyValue, first: int) -> None:
        for number in range(first, CALLS, AT_ONCE):
            task = asyncio.create_task(call(kv, number))
            if number in cancelled:
                for _ in range(turns[number]):
                    await asyncio.sleep(0)
                task.cancel()
            await asyncio.wait([task])
            if not task.cancelled():
                assert right(task.result(), number)

    def right(answer: object, number: int) -> bool:
        if number % 3 == 0:
            return isinstance(answer, Entry) and answer.value == b"key %d" % number
        if number % 3 == 1:
            return getattr(answer, "value", None) == number
        assert isinstance(answer, list)
        absent, given = answer
        return absent is None and given.value == b"%d" % (number % 100)

    async with open_redis(own_server.url) as backend:
        for number in range(100):
            await backend.kv.set(f"given {number}", b"%d" % number)
        tasks = asyncio.all_tasks()
        ids = {client["id"] for client in connections_of(own_server)}
        await asyncio.gather(*(worker(backend.kv, first) for first in range(AT_ONCE)))
        assert asyncio.all_tasks() <= tasks
        assert {client["id"] for client in connections_of(own_server)} == ids
        assert len(ids) == SHARED

    async def gone() -> bool:
        return not connections_of(own_server)

    await wait_until(gone, "no connection is left behind")


async def test_callers_of_one_turn_wait_for_one_round_trip(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        Relay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}") as backend,
    ):
        before = relay.bursts
        await asyncio.gather(*(backend.kv.set(f"{number}", b"value") for number in range(30)))
        assert relay.bursts - before == 1


async def test_what_is_cancelled_before_it_leaves_is_not_applied(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        Relay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}", in_flight="1") as backend,
    ):
        before = relay.bursts
        await own_server.pause()
        first = asyncio.create_task(backend.kv.set("first", b"value"))
        second = asyncio.create_task(backend.kv.set("second", b"value"))
        third = asyncio.create_task(backend.kv.set("third", b"value"))
        while relay.bursts == before:
            await asyncio.sleep(0.001)
        second.cancel()
        await own_server.resume()
        await asyncio.gather(first, third)
        assert await backend.kv.exists("third") is True
        assert await backend.kv.exists("second") is False


async def test_who_waits_when_a_connection_breaks_is_sent_over_the_next(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        Relay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}", in_flight="1") as backend,
    ):
        relay.replies_lost = True
        calls = [asyncio.create_task(backend.kv.increment("number")) for _ in range(3)]
        while own_server.ask("GET", "prism:number") != b"1":
            await asyncio.sleep(0.001)
        relay.replies_lost = False
        relay.hang_up()
        sent, *waited = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(sent, BackendUnavailable)
        assert sent.outcome is Outcome.UNKNOWN
        assert [getattr(count, "value", count) for count in waited] == [2, 3]


async def test_a_connection_that_falls_silent_is_left_and_nothing_repeated(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with (
        Relay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}", timeout="300ms") as backend,
    ):
        relay.replies_lost = True
        with pytest.raises(BackendTimeout) as failure:
            await backend.kv.increment("number")
        assert failure.value.outcome is Outcome.UNKNOWN
        relay.replies_lost = False
        assert (await backend.kv.increment("number")).value == 2

        async def closed() -> bool:
            return len(connections_of(own_server)) == SHARED

        await wait_until(closed, "the silent connection is closed")


async def test_a_server_that_is_no_master_any_more_is_connected_to_anew(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url) as backend:
        before = {client["id"] for client in connections_of(own_server)}
        # Of itself, which it cannot be: read-only all the same.
        own_server.ask("REPLICAOF", "127.0.0.1", own_server.port)
        with pytest.raises(BackendUnavailable, match="replica") as refusal:
            await backend.kv.set("key", b"value")
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        own_server.ask("REPLICAOF", "NO", "ONE")
        await backend.kv.set("key", b"value")
        after = {client["id"] for client in connections_of(own_server)}
        assert len(after - before) == 1


async def test_large_requests_have_a_connection_of_their_own(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url) as backend:
        await backend.kv.set("key", bytes(1 << 20))
        entry = await backend.kv.get("key")
        assert entry is not None
        assert entry.value == bytes(1 << 20)
        used = {client["cmd"] for client in connections_of(own_server)}
        assert used == {"evalsha", "pexpiretime"}


async def test_many_large_values_at_once_are_all_right(
    own_server: RedisServer, open_redis: Open
) -> None:
    async with open_redis(own_server.url) as backend:
        values = {f"{number}": b"%d" % number * (1 << 17) for number in range(100)}
        await asyncio.gather(*(backend.kv.set(key, value) for key, value in values.items()))
        entries = await asyncio.gather(*(backend.kv.get(key) for key in values))
        found = [None if entry is None else entry.value for entry in entries]
        assert found == list(values.values())
