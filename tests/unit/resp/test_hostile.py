"""Nothing that a client sends, or omits, takes memory or time from the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from prism.adapters.resp import door as doors
from prism.domain.connection_budget import UnreadReplies
from tests.unit.resp.conftest import Connection, Serve, Served, encode


@pytest.mark.parametrize(
    "sent",
    [
        b"*1000000000\r\n",
        b"*1\r\n$1000000000\r\n",
        b"*1\r\n*1\r\n*1\r\n",
        b"%99999999\r\n",
        b"x" * 100_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
async def test_what_is_no_command_ends_the_connection_after_the_answers(
    served: Served, sent: bytes
) -> None:
    hostile, other = await served.connect(), await served.connect()
    hostile.send("PING")
    hostile.writer.write(sent)
    if sent[0] != ord("%"):
        hostile.writer.write(b"\r\n")
    answer = await hostile.receive()
    assert answer == [b"PONG"]
    hostile.writer.write_eof()
    assert await _ends(hostile)
    assert await other.ask("PING") == [b"PONG"]
    assert served.door.waiting.used == 0


@pytest.mark.parametrize(
    "sent",
    [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\nSET stolen 1\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
    ],
)
async def test_http_gets_one_sentence_and_is_logged_now_and_then(
    served: Served, caplog: pytest.LogCaptureFixture, sent: bytes
) -> None:
    for _ in range(10):
        connection = await served.connect()
        connection.writer.write(sent)
        answer = await asyncio.wait_for(connection.reader.read(), 10)
        assert answer.startswith(b"-ERR Protocol error: this port speaks the Redis protocol")
        assert answer.count(b"\r\n") == 1
    assert await (await served.connect()).ask("EXISTS stolen") == [0]
    assert 1 <= sum("sent HTTP" in record.message for record in caplog.records) <= 4


async def _ends(connection: Connection) -> bool:
    async with asyncio.timeout(30):
        try:
            while await connection.reader.read(1 << 16):
                pass
        except ConnectionError:
            pass
    return True


async def test_half_sent_commands_are_bounded_together(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.door.waiting.max_bytes = 1 << 20
    half = b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$400000\r\n" + b"x" * 300_000
    hostile = [await served.connect() for _ in range(6)]
    for each in hostile:
        each.writer.write(half)
    await served.until(lambda: len(served.door.sessions) <= 3)
    assert served.door.waiting.used <= 1 << 20
    reading = [asyncio.create_task(_last_words(each)) for each in hostile]
    await served.until(lambda: sum(task.done() for task in reading) >= 3)
    refusals = [words for task in reading if task.done() and (words := task.result())]
    for task in reading:
        task.cancel()
    assert len(refusals) >= 3
    assert all(b"too many half-sent commands" in refusal for refusal in refusals)


async def _last_words(connection: Connection) -> bytes:
    try:
        return await connection.reader.read()
    except ConnectionError:
        return b""


async def test_replies_that_nobody_reads_stop_the_commands(serve: Serve) -> None:
    served = await serve(stall_timeout=timedelta(seconds=30))
    slow, other = await served.connect(), await served.connect()
    slow.writer.write(encode(b"SET", b"large", b"x" * 1_000_000))
    await slow.receive()
    slow.writer.transport.pause_reading()
    slow.send(*["GET large"] * 60)
    await served.until(lambda: served.door.unread.used > 0)
    for _ in range(20):
        assert await other.ask("SET a 1", "GET a") == [b"OK", b"1"]
    assert served.door.unread.used < 8 << 20
    slow.writer.transport.resume_reading()
    assert len((await slow.receive(60))[-1]) == 1_000_000
    await served.until(lambda: served.door.unread.used == 0)


async def test_a_client_that_never_reads_is_dropped(serve: Serve) -> None:
    served = await serve(stall_timeout=timedelta(milliseconds=200))
    slow = await served.connect()
    slow.writer.write(encode(b"SET", b"large", b"x" * 1_000_000))
    await slow.receive()
    slow.writer.transport.pause_reading()
    slow.send(*["GET large"] * 100)
    await served.until(lambda: served.door.stalled == 1)
    await served.until(lambda: not served.door.sessions)
    assert served.door.unread.used == 0


async def test_a_thousand_idle_connections_disturb_nobody(served: Served) -> None:
    idle = [await served.connect() for _ in range(1000)]
    await served.until(lambda: len(served.door.sessions) == 1000)
    busy = await served.connect()
    assert await busy.ask("SET a 1", "GET a") == [b"OK", b"1"]
    assert await idle[500].ask("GET a") == [b"1"]


async def test_beyond_the_bound_the_longest_idle_connection_makes_room(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prism.adapters.resp import listener

    monkeypatch.setattr(listener, "_BUSY_NS", 0)
    served = await serve(max_connections=3)
    connections = [await served.connect() for _ in range(3)]
    for each in connections:
        await each.ask("PING")
    await connections[0].ask("PING")
    newest = await served.connect()
    assert await newest.ask("PING") == [b"PONG"]
    assert await connections[1].is_closed()
    assert await connections[0].ask("PING") == [b"PONG"]
    assert served.door.refused == 1


async def test_beyond_the_bound_of_busy_connections_a_new_one_is_refused(serve: Serve) -> None:
    served = await serve(max_connections=2)
    for number in range(2):
        each = await served.connect()
        each.send(f"GET slow{number}")
    await served.until(lambda: served.driver.waiting == 2)
    refused = await served.connect()
    (error,) = await refused.receive()
    assert str(error) == "ERR max number of clients reached"
    assert await refused.is_closed()


async def test_a_flood_of_small_commands_is_parsed_in_turns(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doors, "_COMMANDS_PER_TURN", 64)
    monkeypatch.setattr(doors, "_COMMANDS_PER_PEER", 16)
    connections = [await served.connect() for _ in range(20)]
    for each in connections:
        each.send(*["PING"] * 500)
    for each in connections:
        assert await each.receive(500) == [b"PONG"] * 500
    assert served.door.backlog == 0


_LARGE, _SMALL = b"x" * 100_000, b"x" * 1_000


async def test_a_reply_of_many_large_ones_is_refused_before_it_is_made(served: Served) -> None:
    served.door.unread = UnreadReplies(max_connection_bytes=1 << 20)
    client = await served.connect()
    await client.ask(b"SET k " + _LARGE)
    *_, in_all = await client.ask("MULTI", "SET other v", *["GET k"] * 5_000, "EXEC")
    assert str(in_all).startswith("OOM the reply is too large")
    assert "unknown" not in str(in_all)
    assert await client.ask("EXISTS other") == [0]
    assert served.door.unread.used == 0
    *_, few = await client.ask("MULTI", *["GET k"] * 5, "EXEC")
    assert few == [_LARGE] * 5


async def test_many_batches_of_one_command_make_no_large_reply(served: Served) -> None:
    served.door.unread = UnreadReplies(max_connection_bytes=1 << 20)
    client = await served.connect()
    await client.ask(b"SET k " + _SMALL)
    (refused,) = await client.ask("MGET" + " k" * 5_000)
    assert str(refused).startswith("OOM the reply is too large")
    assert await client.ask("MGET" + " k" * 500) == [[_SMALL] * 500]
    assert served.door.unread.used == 0


async def test_a_transaction_holds_values_up_to_a_limit(connection: Connection) -> None:
    *_, refused = await connection.ask(
        "MULTI", *(f"SETRANGE k{number} 1000000 x" for number in range(100)), "EXEC"
    )
    assert "more than 16,777,216 bytes together" in str(refused)
    assert "nothing was written" in str(refused)
    assert "unknown" not in str(refused)
    assert await connection.ask("DBSIZE") == [0]
    # A value that replaces another takes its place.
    *_, replies = await connection.ask("MULTI", *["SETRANGE k 1000000 x"] * 100, "EXEC")
    assert replies == [1_000_001] * 100


async def test_watched_keys_are_limited(connection: Connection) -> None:
    refused, state = await connection.ask(
        "WATCH " + " ".join(f"k{number}" for number in range(1_001)), "CLIENT INFO"
    )
    assert str(refused) == "ERR more than 1,000 keys are watched: send UNWATCH first"
    assert b"watch=1000 " in state
