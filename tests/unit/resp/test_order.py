"""Replies come in the order of the commands, and commands on one key run in that order."""

from __future__ import annotations

import asyncio

from tests.unit.resp.conftest import Connection, Serve, Served


async def test_commands_on_other_keys_run_beside_one_that_waits(
    served: Served, connection: Connection
) -> None:
    connection.send("SET slow 1", "SET b 2", "GET b", "PING")
    await served.until(lambda: served.driver.log == ["b", "b"])
    assert served.driver.waiting == 1
    served.driver.release.set()
    assert await connection.receive(4) == [b"OK", b"OK", b"2", b"PONG"]


async def test_commands_on_one_key_run_in_order(served: Served, connection: Connection) -> None:
    connection.send("SET slow 1", "GET slow", "SET slow 2", "MGET slow b", "DEL b slow")
    await served.until(lambda: served.driver.waiting == 1)
    served.driver.release.set()
    assert await connection.receive(5) == [b"OK", b"1", b"OK", [b"2", None], 1]


async def test_a_command_on_all_keys_waits_for_those_before_it(
    served: Served, connection: Connection
) -> None:
    connection.send("SET slow 1", "DBSIZE", "SET b 1", "DBSIZE")
    await served.until(lambda: served.driver.waiting == 1)
    served.driver.release.set()
    assert await connection.receive(4) == [b"OK", 1, b"OK", 2]


async def test_one_connection_does_not_wait_for_another(served: Served) -> None:
    waiting, other = await served.connect(), await served.connect()
    waiting.send("GET slow")
    await served.until(lambda: served.driver.waiting == 1)
    assert await other.ask("SET a 1", "GET a") == [b"OK", b"1"]
    served.driver.release.set()
    assert await waiting.receive() == [None]


async def test_a_long_pipeline_on_a_slow_backend_is_held_back_and_not_refused(
    serve: Serve,
) -> None:
    served = await serve(max_in_flight=150, max_per_connection=100)
    connection = await served.connect()
    connection.send(*(f"SET slow{number} {number}" for number in range(2000)))
    await served.until(lambda: served.driver.waiting > 0)
    assert served.driver.waiting <= 100
    served.driver.release.set()
    assert await connection.receive(2000) == [b"OK"] * 2000


async def test_a_long_pipeline_lets_others_be_served_in_between(served: Served) -> None:
    busy, other = await served.connect(), await served.connect()
    busy.send(*["INCR n"] * 20_000)
    assert await asyncio.wait_for(other.ask("PING"), 5) == [b"PONG"]
    assert (await busy.receive(20_000))[-1] == 20_000


async def test_replies_are_left_out_as_asked(connection: Connection) -> None:
    connection.send("CLIENT REPLY OFF", "SET a 1", "CLIENT REPLY ON", "CLIENT REPLY SKIP", "PING")
    connection.send("GET a")
    assert await connection.receive(2) == [b"OK", b"1"]


async def test_replies_of_waiting_commands_are_left_out_too(
    served: Served, connection: Connection
) -> None:
    connection.send("CLIENT REPLY SKIP", "SET slow 1", "GET slow")
    served.driver.release.set()
    assert await connection.receive() == [b"1"]


async def test_all_that_was_sent_before_the_end_is_answered(
    served: Served, connection: Connection
) -> None:
    connection.send("SET slow 1", "GET slow")
    connection.writer.write_eof()
    await served.until(lambda: served.driver.waiting == 1)
    served.driver.release.set()
    assert await connection.receive(2) == [b"OK", b"1"]
    assert await connection.is_closed()


async def test_nothing_after_quit_is_run(connection: Connection) -> None:
    connection.send("QUIT", "SET a 1")
    assert await connection.receive() == [b"OK"]
    assert await connection.is_closed()
