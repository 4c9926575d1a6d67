"""Commands between MULTI and EXEC take effect together, or not at all."""

from __future__ import annotations

import asyncio

import pytest

from prism.adapters.resp.arguments import now_ms
from prism.adapters.resp.overlay import Overlay, transact
from prism.ports import Capability, Declaration
from tests.unit.resp.conftest import Connection, Serve, Served


async def test_replies_of_all_commands_come_with_exec(connection: Connection) -> None:
    replies = await connection.ask(
        "SET a 1 EX 100", "MULTI", "INCR a", "GET a", "SET b 2", "DEL c", "MGET a b c", "EXEC"
    )
    assert replies == [
        *(b"OK", b"OK", b"QUEUED", b"QUEUED", b"QUEUED", b"QUEUED", b"QUEUED"),
        [2, b"2", b"OK", 0, [b"2", b"2", None]],
    ]
    (left,) = await connection.ask("TTL a")
    assert 99 <= left <= 100


async def test_expiry_is_said_by_the_clock_of_the_backend(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prism.adapters.resp.overlay.now_ms", lambda: now_ms() + 3_600_000)
    _, outside = await connection.ask("SET a 1 EX 100", "PEXPIRETIME a")
    *_, (inside, left, count, left_then) = await connection.ask(
        "MULTI", "PEXPIRETIME a", "TTL a", "INCR a", "TTL a", "EXEC"
    )
    assert inside == outside
    assert count == 2
    assert 99 <= left_then <= left <= 100
    (left,) = await connection.ask("TTL a")
    assert 99 <= left <= 100


async def test_an_error_of_one_command_stops_no_other(connection: Connection) -> None:
    await connection.ask("SET a x")
    *_, (first, second) = await connection.ask("MULTI", "INCR a", "SET b 1", "EXEC")
    assert str(first) == "ERR value is not an integer or out of range"
    assert second == b"OK"
    assert await connection.ask("GET b") == [b"1"]


async def test_a_command_that_cannot_be_queued_discards_all(connection: Connection) -> None:
    for wrong in ("NOPE", "GET", "SCAN 0"):
        *_, failure = await connection.ask("MULTI", "SET a 1", wrong, "EXEC")
        assert str(failure).startswith("EXECABORT")
    assert await connection.ask("EXISTS a") == [0]


async def test_a_watched_key_that_changes_discards_all(served: Served) -> None:
    one, other = await served.connect(), await served.connect()
    await one.ask("SET a 1", "WATCH a")
    await other.ask("SET a 2")
    assert (await one.ask("MULTI", "SET b 1", "EXEC"))[-1] is None
    assert await one.ask("EXISTS b") == [0]
    assert (await one.ask("WATCH a", "MULTI", "SET b 1", "EXEC"))[-1] == [b"OK"]
    await one.ask("WATCH a")
    await other.ask("SET a 3")
    assert (await one.ask("UNWATCH", "MULTI", "SET b 2", "EXEC"))[-1] == [b"OK"]


async def test_many_that_count_together_lose_nothing(served: Served) -> None:
    connections = [await served.connect() for _ in range(8)]

    async def count(connection: Connection) -> None:
        for _ in range(25):
            assert (await connection.ask("MULTI", "INCR a", "INCR b", "EXEC"))[-1] is not None

    await asyncio.gather(*map(count, connections))
    assert await connections[0].ask("MGET a b") == [[b"200", b"200"]]


async def test_what_changes_under_a_transaction_runs_it_again(served: Served) -> None:
    gateway = served.door.default.gateway
    await gateway.set("a", b"1")
    seen = []

    async def run(overlay: Overlay) -> None:
        entry = await overlay.get("a")
        assert entry is not None
        seen.append(entry.value)
        if len(seen) == 1:
            await gateway.set("a", b"2")
        await overlay.set("b", entry.value)

    await transact(gateway, run)
    assert seen == [b"1", b"2"]
    stored = await gateway.get("b")
    assert stored is not None
    assert stored.value == b"2"


async def test_a_transaction_is_bounded(serve: Serve) -> None:
    served = await serve(max_bytes=10_000)
    connection = await served.connect()
    replies = await connection.ask("MULTI", *["SET a " + "x" * 3000] * 4, "EXEC")
    assert "larger than 10,000 bytes" in str(replies[-2])
    assert str(replies[-1]).startswith("EXECABORT")
    assert await connection.ask("EXISTS a") == [0]


async def test_without_transactions_nothing_is_written_unless_loose_ones_are_allowed(
    serve: Serve,
) -> None:
    for loose in (False, True):
        served = await serve(loose_transactions=loose)
        profile = served.driver.profile
        capabilities: dict[Capability, Declaration] = {
            key: value
            for key, value in profile.capabilities.items()
            if key is not Capability.TRANSACTIONS
        }
        served.driver.lacks(capabilities)
        connection = await served.connect()
        last = (await connection.ask("MULTI", "SET a 1", "INCR a", "EXEC"))[-1]
        if loose:
            assert last == [b"OK", 2]
        else:
            assert str(last).startswith("EXECABORT the driver 'memstore' does not offer")
            assert await connection.ask("EXISTS a") == [0]


async def test_keys_are_renamed_with_their_ttl(connection: Connection) -> None:
    await connection.ask("SET a 1 EX 100", "SET b 2")
    assert await connection.ask("RENAMENX a b", "RENAME a b", "GET b", "EXISTS a") == [
        0,
        b"OK",
        b"1",
        0,
    ]
    (left,) = await connection.ask("TTL b")
    assert 99 <= left <= 100
    (failure,) = await connection.ask("RENAME a b")
    assert str(failure) == "ERR no such key"


async def test_several_keys_are_set_if_none_exists(connection: Connection) -> None:
    assert await connection.ask("MSETNX a 1 b 2", "MSETNX c 1 b 3", "EXISTS a b c") == [1, 0, 2]
