"""Nothing that a client sends, or omits, takes memory or time from the others."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from prism.adapters.resp import door as doors
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
    async with asyncio.timeout(10):
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
    refusals = [data for each in hostile if (data := await _last_words(each))]
    assert len(refusals) >= 3
    assert all(b"too many half-sent commands" in refusal for refusal in refusals)


async def _last_words(connection: Connection) -> bytes:
    try:
        return await asyncio.wait_for(connection.reader.read(), 0.3)
    except (TimeoutError, ConnectionError):
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
