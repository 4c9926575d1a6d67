"""What a connection holds is counted, and the idle ones give way to others."""

from __future__ import annotations

import asyncio

import pytest

from prism.adapters.resp import door as doors
from tests.unit.resp.conftest import Connection, Served, encode

_LARGE = b"x" * 300_000


@pytest.fixture
def served_with_little(served: Served) -> Served:
    """Port whose connections may hold a megabyte together."""
    served.door.waiting.max_bytes = 1 << 20
    return served


async def _begin_transaction(connection: Connection) -> None:
    connection.writer.write(encode(b"MULTI") + encode(b"SET", b"k", _LARGE))
    assert await connection.receive(2) == [b"OK", b"QUEUED"]


async def test_transactions_that_nobody_ends_give_way(
    served_with_little: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = served_with_little
    monkeypatch.setattr(doors, "_HELD_IN_PEACE_S", 0)
    idle = [await served.connect() for _ in range(8)]
    for each in idle:
        await _begin_transaction(each)
    assert served.door.waiting.used <= 1 << 20
    last_words = await asyncio.wait_for(idle[0].reader.read(), 10)
    assert b"too many half-sent commands" in last_words
    assert await idle[-1].ask("EXEC") == [[b"OK"]]


async def test_a_transaction_is_refused_while_others_are_being_sent(
    served_with_little: Served,
) -> None:
    served = served_with_little
    for _ in range(3):
        await _begin_transaction(await served.connect())
    client = await served.connect()
    assert await client.ask("MULTI") == [b"OK"]
    queued = await client.ask(b"SET a " + _LARGE[:30_000])
    while queued == [b"QUEUED"]:
        queued = await client.ask(b"SET a " + _LARGE[:30_000])
    # As an error of the command, or of the connection if it arrived in pieces.
    assert "too many half-sent commands and transactions" in str(queued[0])
    other = await served.connect()
    assert await other.ask("GET a", "SET a 1") == [None, b"OK"]


async def test_a_large_command_counts_until_it_has_ended(served: Served) -> None:
    client = await served.connect()
    client.writer.write(encode(b"SET", b"slow", _LARGE))
    await served.until(lambda: served.driver.waiting == 1)
    assert served.door.waiting.used > len(_LARGE)
    served.driver.release.set()
    assert await client.receive() == [b"OK"]
    await served.until(lambda: served.door.waiting.used == 0)
    assert not served.door.holders


async def test_watched_keys_count_until_they_are_forgotten(served: Served) -> None:
    client = await served.connect()
    keys = b" ".join(b"%0900d" % number for number in range(100))
    assert await client.ask(b"WATCH " + keys) == [b"OK"]
    assert served.door.waiting.used > 90_000
    assert await client.ask("UNWATCH") == [b"OK"]
    await served.until(lambda: served.door.waiting.used == 0)


async def test_subscriptions_count_until_they_end(served: Served) -> None:
    served.door.subscribed.max_bytes = 100_000
    client = await served.connect()
    await client.ask("HELLO 3")
    assert (await client.ask("PSUBSCRIBE __keyspace@0__:" + "x" * 900))[0][0] == b"psubscribe"
    assert served.door.subscribed.used > 14_000
    names = " ".join(f"__keyspace@0__:{number:0900}" for number in range(10))
    (refused,) = await client.ask(f"PSUBSCRIBE {names}")
    assert str(refused).startswith("OOM the subscriptions take too much memory")
    client.send("PUNSUBSCRIBE")
    await client.receive()
    assert served.door.subscribed.used == 0
