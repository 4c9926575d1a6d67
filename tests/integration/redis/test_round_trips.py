"""Number of round trips of each operation, counted between driver and server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta

import pytest

from prism.ports import (
    Condition,
    Delete,
    FullKeyValue,
    Presence,
    Put,
    Version,
    VersionConflict,
)
from tests.integration.redis.conftest import Open
from tests.servers.redis import RedisServer
from tests.servers.relay import TcpRelay

HOUR = timedelta(hours=1)

Call = Callable[[FullKeyValue], Awaitable[object]]

ONE_ROUND_TRIP: dict[str, Call] = {
    "get": lambda kv: kv.get("there"),
    "get of an absent key": lambda kv: kv.get("absent"),
    "set": lambda kv: kv.set("new", b"value"),
    "set with a ttl": lambda kv: kv.set("new", b"value", ttl=HOUR),
    "set of a mebibyte": lambda kv: kv.set("new", bytes(1 << 20)),
    "delete": lambda kv: kv.delete("there"),
    "exists": lambda kv: kv.exists("there"),
    "if absent": lambda kv: kv.compare_and_set("absent", b"1", expected=None, ttl=HOUR),
    "if version": lambda kv: kv.compare_and_set("there", b"1", expected=Version(7)),
    "compare and delete": lambda kv: kv.compare_and_delete("there", expected=Version(7)),
    "increment": lambda kv: kv.increment("number"),
    "expire": lambda kv: kv.expire("there", HOUR),
    "ttl": lambda kv: kv.ttl("there"),
    "persist": lambda kv: kv.persist("there"),
    "set_many": lambda kv: kv.set_many([Put(f"{n}", b"value") for n in range(100)]),
    "delete_many": lambda kv: kv.delete_many([f"{n}" for n in range(100)]),
    "get_many of what fits": lambda kv: kv.get_many(["there", "absent", "number"]),
    "scan": lambda kv: kv.scan("there"),
    "apply": lambda kv: kv.apply(
        [Condition("there", Presence.PRESENT)], [Put("new", b"1"), Delete("absent")]
    ),
}


@pytest.fixture
async def relay(own_server: RedisServer) -> AsyncIterator[TcpRelay]:
    async with TcpRelay(own_server.port) as relay:
        yield relay


@pytest.fixture
async def kv(relay: TcpRelay, open_redis: Open) -> AsyncIterator[FullKeyValue]:
    async with open_redis(f"redis://127.0.0.1:{relay.port}") as backend:
        await backend.kv.set("there", b"value")
        yield backend.kv


@pytest.mark.parametrize("call", ONE_ROUND_TRIP.values(), ids=ONE_ROUND_TRIP.keys())
async def test_operation_takes_one_round_trip(
    relay: TcpRelay, kv: FullKeyValue, call: Call
) -> None:
    before = relay.round_trips
    try:
        await call(kv)
    except VersionConflict:
        assert call in (ONE_ROUND_TRIP["if version"], ONE_ROUND_TRIP["compare and delete"])
    assert relay.round_trips - before == 1


async def test_script_is_loaded_again_if_the_server_lost_it(
    relay: TcpRelay, kv: FullKeyValue, own_server: RedisServer
) -> None:
    own_server.ask("SCRIPT", "FLUSH")
    before = relay.round_trips
    assert (await kv.increment("number")).value == 1
    assert relay.round_trips - before == 2
    assert (await kv.increment("number")).value == 2
    assert relay.round_trips - before == 3


async def test_get_many_asks_for_sizes_first_if_values_may_not_fit(
    relay: TcpRelay, kv: FullKeyValue
) -> None:
    before = relay.round_trips
    await kv.get_many([f"{number}" for number in range(1000)])
    # The requests after the sizes may take several writes, but only one round trip.
    assert relay.round_trips - before == 2
