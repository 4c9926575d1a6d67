"""What a connection is told without asking: channels of changed keys, and keys to forget."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from hiredis import PushNotification

from prism.ports import WatchEnded
from tests.unit.resp.conftest import Connection, Serve, Served


async def test_channels_in_resp2(served: Served, connection: Connection) -> None:
    other = await served.connect()
    connection.send("SUBSCRIBE __keyspace@0__:a __keyevent@0__:del __keyspace@1__:a")
    assert await connection.receive(3) == [
        [b"subscribe", b"__keyspace@0__:a", 1],
        [b"subscribe", b"__keyevent@0__:del", 2],
        [b"subscribe", b"__keyspace@1__:a", 3],
    ]
    assert served.door.default.gateway.watches.active == 2  # type: ignore[attr-defined]
    await other.ask("SET a 1", "SET ab 1", "SET a 1 PX 1", "DEL ab", "SELECT 1", "SET a 1")
    messages = await connection.receive(5)
    assert [m for m in messages if m[1].endswith(b"@0__:a")] == [
        [b"message", b"__keyspace@0__:a", b"set"],
        [b"message", b"__keyspace@0__:a", b"set"],
        [b"message", b"__keyspace@0__:a", b"expired"],
    ]
    assert [b"message", b"__keyevent@0__:del", b"ab"] in messages
    assert [b"message", b"__keyspace@1__:a", b"set"] in messages
    pong, refused = await connection.ask("PING", "GET a")
    assert pong == [b"pong", b""]
    assert str(refused).startswith("ERR Can't execute 'get': only (P)SUBSCRIBE")
    connection.send("UNSUBSCRIBE __keyspace@1__:a", "UNSUBSCRIBE", "UNSUBSCRIBE", "GET b")
    assert await connection.receive(5) == [
        [b"unsubscribe", b"__keyspace@1__:a", 2],
        [b"unsubscribe", b"__keyspace@0__:a", 1],
        [b"unsubscribe", b"__keyevent@0__:del", 0],
        [b"unsubscribe", None, 0],
        None,
    ]
    await served.until(lambda: not served.door.default.gateway.watches.active)  # type: ignore[attr-defined]


async def test_patterns_in_resp3_beside_other_commands(connection: Connection) -> None:
    await connection.ask("HELLO 3")
    connection.send("PSUBSCRIBE __keyspace@0__:user:* __keyevent@0__:e*", "SET user:1 x", "PING")
    replies = await connection.receive(4)
    assert replies[:2] == [
        [b"psubscribe", b"__keyspace@0__:user:*", 1],
        [b"psubscribe", b"__keyevent@0__:e*", 2],
    ]
    assert all(isinstance(reply, PushNotification) for reply in replies[:2])
    pushed = replies[2:] + await connection.receive(1)
    assert {b"OK", b"PONG"} == {each for each in pushed if isinstance(each, bytes)}
    assert [
        *(b"pmessage", b"__keyspace@0__:user:*"),
        *(b"__keyspace@0__:user:1", b"set"),
    ] in pushed
    info, _ = await connection.ask("CLIENT INFO", "RESET")
    assert b" sub=0 psub=2 " in info
    assert await connection.ask("SET user:2 x", "PING") == [b"OK", b"PONG"]


async def test_what_no_message_can_come_from_is_refused(served: Served) -> None:
    connection = await served.connect()
    for command in (
        *("SUBSCRIBE news", "SUBSCRIBE __keyevent@0__:lpush", "SUBSCRIBE __keyspace@7__:a"),
        *("PSUBSCRIBE news*", "PSUBSCRIBE __keyspace@7__:*"),
    ):
        (refused,) = await connection.ask(command)
        assert "no channels but those of changed keys" in str(refused), command
    (refused,) = await connection.ask("PSUBSCRIBE __key*")
    assert "several databases" in str(refused)
    (refused,) = await connection.ask(b"SUBSCRIBE __keyspace@0__:\xff")
    assert "not UTF-8" in str(refused)
    many = " ".join(f"__keyspace@0__:{number}" for number in range(1001))
    (refused,) = await connection.ask(f"SUBSCRIBE {many}")
    assert "the limit of 1,000 subscriptions" in str(refused)
    many = " ".join(f"__keyspace@0__:{number}" for number in range(300))
    (refused,) = await connection.ask(f"SUBSCRIBE {many}")
    assert str(refused).startswith("OOM the limit of 250 open watches on this connection")
    assert await connection.ask("GET a") == [None]
    served.driver.lacks({})
    refused, letters = await connection.ask(
        "SUBSCRIBE __keyspace@0__:a", "CONFIG GET notify-keyspace-events"
    )
    assert str(refused).startswith("ERR the driver 'memstore' does not offer watch")
    assert letters == [b"notify-keyspace-events", b""]


async def test_a_watch_that_ends_closes_the_connection(
    served: Served, connection: Connection
) -> None:
    await connection.ask("SUBSCRIBE __keyspace@0__:a")
    (feed,) = next(iter(served.door.sessions)).subscriptions._feeds.values()
    feed._owner.lost(WatchEnded("the reader was too slow"))
    assert await connection.is_closed()
    await served.until(lambda: not served.door.sessions)


async def test_a_client_that_does_not_read_its_messages_is_dropped(serve: Serve) -> None:
    served = await serve(stall_timeout=timedelta(milliseconds=200))
    slow, writer = await served.connect(), await served.connect()
    await slow.ask("SUBSCRIBE __keyevent@0__:set")
    slow.writer.transport.pause_reading()
    key = "k" * 1000

    async def write() -> None:
        while len(served.door.sessions) == 2:
            await writer.ask(*[f"SET {key} v"] * 500)

    async with asyncio.timeout(20):
        await write()
    assert served.door.stalled <= 1
    assert await writer.ask("PING") == [b"PONG"]


async def test_keys_to_forget_come_after_the_replies_that_hold_them(served: Served) -> None:
    reader, writer = await served.connect(), await served.connect()
    await reader.ask("HELLO 3", "CLIENT TRACKING ON BCAST PREFIX slow PREFIX user:")
    info, redirect = await reader.ask("CLIENT TRACKINGINFO", "CLIENT GETREDIR")
    assert info[b"prefixes"] == [b"slow", b"user:"]
    assert redirect == 0
    reader.send("GET slow")
    await served.until(lambda: served.driver.waiting == 1)
    await writer.ask("SET user:1 x", "SET other x")
    served.driver.release.set()
    assert await reader.receive(2) == [None, [b"invalidate", [b"user:1"]]]
    (overlap,) = await reader.ask("CLIENT TRACKING ON BCAST PREFIX user:1")
    assert "overlaps with an existing prefix" in str(overlap)
    (select,) = await reader.ask("SELECT 1")
    assert "are tracked" in str(select)
    assert await reader.ask("CLIENT TRACKING OFF", "SELECT 1") == [b"OK", b"OK"]


async def test_what_cannot_be_tracked_is_refused(connection: Connection) -> None:
    async def refusal(command: str) -> Any:
        (refused,) = await connection.ask(command)
        return str(refused)

    assert "needs RESP3" in await refusal("CLIENT TRACKING ON BCAST")
    await connection.ask("HELLO 3")
    for option in ("NOLOOP", "OPTIN", "OPTOUT", "REDIRECT 5"):
        text = await refusal(f"CLIENT TRACKING ON BCAST {option}")
        assert f"no {option.split()[0]} here" in text
    assert "requires BCAST" in await refusal("CLIENT TRACKING ON PREFIX a")
    assert "syntax error" in await refusal("CLIENT TRACKING ON NOW")
    assert "CLIENT CACHING is not served" in await refusal("CLIENT CACHING YES")
