"""Round trips of each operation, counted by a relay between driver and server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from prism.ports import FullKeyValue, Put, VersionConflict
from tests.integration.nats.conftest import Open
from tests.servers.nats import NatsServer
from tests.servers.relay import TcpRelay

HOUR = timedelta(hours=1)

KEEPALIVE = frozenset({b"PING\r\n", b"PONG\r\n"})

Call = Callable[[FullKeyValue], Awaitable[Any]]

ONE_ROUND_TRIP: dict[str, Call] = {
    "get": lambda kv: kv.get("there"),
    "get of an absent key": lambda kv: kv.get("absent"),
    "set": lambda kv: kv.set("new", b"value"),
    "set with a ttl": lambda kv: kv.set("new", b"value", ttl=HOUR),
    "set of a mebibyte": lambda kv: kv.set("new", bytes(1 << 20)),
    "exists": lambda kv: kv.exists("there"),
    "ttl": lambda kv: kv.ttl("there"),
    "if absent": lambda kv: kv.compare_and_set("absent", b"1", expected=None, ttl=HOUR),
    "delete of an absent key": lambda kv: kv.delete("absent"),
    "persist without a ttl": lambda kv: kv.persist("there"),
    "set_many": lambda kv: kv.set_many([Put(f"{n}", b"value") for n in range(100)]),
    "get_many": lambda kv: kv.get_many([f"{n}" for n in range(100)]),
    "get_many of absent keys": lambda kv: kv.get_many([f"absent {n}" for n in range(100)]),
}

TWO_ROUND_TRIPS: dict[str, Call] = {
    "delete": lambda kv: kv.delete("there"),
    "expire": lambda kv: kv.expire("there", HOUR),
    "persist": lambda kv: kv.persist("fleeting"),
    "increment": lambda kv: kv.increment("number"),
}


@pytest.fixture
async def relay(nats_server: NatsServer) -> AsyncIterator[TcpRelay]:
    async with TcpRelay(nats_server.port, keepalive=KEEPALIVE) as relay:
        yield relay


@pytest.fixture
async def kv(relay: TcpRelay, open_nats: Open) -> AsyncIterator[FullKeyValue]:
    """Driver on a bucket of its own, so that an absent key never existed."""
    async with open_nats(
        f"nats://127.0.0.1:{relay.port}", bucket=uuid.uuid4().hex, storage="memory"
    ) as backend:
        await backend.kv.set("there", b"value")
        await backend.kv.set("fleeting", b"value", ttl=HOUR)
        yield backend.kv


@pytest.mark.parametrize("call", ONE_ROUND_TRIP.values(), ids=ONE_ROUND_TRIP.keys())
async def test_one_round_trip(relay: TcpRelay, kv: FullKeyValue, call: Call) -> None:
    before = relay.round_trips
    await call(kv)
    assert relay.round_trips - before == 1


@pytest.mark.parametrize("call", TWO_ROUND_TRIPS.values(), ids=TWO_ROUND_TRIPS.keys())
async def test_two_round_trips(relay: TcpRelay, kv: FullKeyValue, call: Call) -> None:
    before = relay.round_trips
    await call(kv)
    assert relay.round_trips - before == 2


async def test_if_version_takes_one_round_trip(relay: TcpRelay, kv: FullKeyValue) -> None:
    version = await kv.set("key", b"1")
    before = relay.round_trips
    with pytest.raises(VersionConflict):
        await kv.compare_and_set("there", b"2", expected=version)
    assert relay.round_trips - before == 1
    version = await kv.compare_and_set("key", b"2", expected=version)
    assert relay.round_trips - before == 2
    await kv.compare_and_delete("key", expected=version)
    assert relay.round_trips - before == 3


async def test_if_version_reads_a_key_with_a_ttl_first(relay: TcpRelay, kv: FullKeyValue) -> None:
    version = await kv.set("key", b"1", ttl=HOUR)
    before = relay.round_trips
    await kv.compare_and_set("key", b"2", expected=version)
    assert relay.round_trips - before == 2


async def test_page_of_any_size_takes_the_same_round_trips(
    relay: TcpRelay, kv: FullKeyValue
) -> None:
    await kv.set_many([Put(f"page/{n}", b"value") for n in range(200)])
    bursts = []
    for page_size in (1, 200):
        before = relay.round_trips
        assert len((await kv.scan("page/", page_size=page_size)).keys) == page_size
        # The third deletes the consumer; its answer is not awaited.
        bursts.append(relay.round_trips - before)
    assert set(bursts) <= {2, 3}
