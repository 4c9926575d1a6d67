"""Failures are told in Redis's words, and nothing that fails takes the connection with it."""

from __future__ import annotations

import socket
import struct
from datetime import timedelta

import pytest

from prism.adapters.resp.errors import reply_of
from prism.ports import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    Exhausted,
    NotServing,
    Outcome,
    PreconditionFailed,
    PrismError,
    Unauthenticated,
)
from tests.unit.resp.conftest import Connection, Serve, Served, encode


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (NotServing("not serving: draining"), b"-LOADING not serving: draining\r\n"),
        (Exhausted("no room"), b"-OOM no room\r\n"),
        (Exhausted("full", reason="TOO_MANY_IN_FLIGHT"), b"-BUSY full\r\n"),
        (Exhausted("wait", reason="TOO_MANY_LOGINS"), b"-BUSY wait\r\n"),
        (AccessDenied("no"), b"-NOPERM no\r\n"),
        (Unauthenticated("no"), b"-NOAUTH no\r\n"),
        (
            PreconditionFailed("a list", reason="WRONG_TYPE"),
            b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n",
        ),
        (
            BackendUnavailable("gone"),
            b"-ERR gone; it is unknown whether this took effect\r\n",
        ),
        (
            BackendTimeout("late", outcome=Outcome.NOT_APPLIED),
            b"-ERR late; nothing was written\r\n",
        ),
        (
            NotServing("aborted", outcome=Outcome.UNKNOWN),
            b"-ERR aborted; it is unknown whether this took effect\r\n",
        ),
    ],
)
def test_errors_of_writes(error: PrismError, reply: bytes) -> None:
    assert reply_of(error, writes=True) == reply


def test_an_error_stays_on_one_line_and_hides_secrets() -> None:
    error = BackendUnavailable("no\r\n+OK hunter2")
    reply = reply_of(error, writes=False, redact=lambda text: text.replace("hunter2", "***"))
    assert reply == b"-ERR no +OK ***\r\n"


async def test_a_defect_shows_nothing_of_itself(connection: Connection) -> None:
    (failure, after) = await connection.ask("GET broken", "PING")
    assert "internal error" in str(failure)
    assert "hunter2" not in str(failure)
    assert after == b"PONG"


async def test_a_command_that_is_not_served_is_named(connection: Connection) -> None:
    (failure,) = await connection.ask("LPUSH a b")
    assert str(failure).startswith("ERR unknown command 'LPUSH': Prism serves strings")


async def test_wrong_numbers_of_arguments(connection: Connection) -> None:
    few, many, after = await connection.ask("GET", "get a b", "PING")
    assert str(few) == str(many) == "ERR wrong number of arguments for 'get' command"
    assert after == b"PONG"


async def test_a_key_that_is_no_text_is_refused(connection: Connection) -> None:
    connection.writer.write(encode(b"SET", b"a\xff", b"1"))
    (failure,) = await connection.receive()
    assert str(failure) == (
        "ERR the key is not UTF-8: byte 0xff at position 1; Prism's keys are text"
    )


async def test_a_command_that_takes_too_long_fails(serve: Serve) -> None:
    served = await serve(default_timeout=timedelta(milliseconds=50))
    connection = await served.connect()
    failure, after = await connection.ask("SET slow 1", "PING")
    assert "no answer within the deadline" in str(failure)
    assert "it is unknown whether this took effect" in str(failure)
    assert after == b"PONG"


async def test_operations_beyond_the_limit_are_refused(serve: Serve) -> None:
    served = await serve(max_in_flight=1)
    first, second = await served.connect(), await served.connect()
    first.send("GET slow")
    await served.until(lambda: served.driver.waiting == 1)
    (refusal,) = await second.ask("GET a")
    assert str(refusal).startswith("BUSY the limit of 1 call in flight is reached")


async def test_failures_are_counted_by_command_and_status(served: Served) -> None:
    connection = await served.connect()
    await connection.ask("INCR a", "SET a x", "INCR a", "NOPE")
    counted = {
        each.path: (each.tally.ended, dict(each.tally.failed)) for each in served.door.commands
    }
    assert counted == {
        "/redis/INCR": (2, {9: 1}),
        "/redis/SET": (1, {}),
        "/redis/UNKNOWN": (1, {3: 1}),
    }


async def test_a_drain_answers_what_runs_and_closes(served: Served) -> None:
    waiting, idle = await served.connect(), await served.connect()
    await idle.ask("PING")
    waiting.send("SET slow 1", "GET slow")
    await served.until(lambda: served.driver.waiting == 1)
    served.admission.close("draining")
    assert await idle.is_closed()
    served.driver.release.set()
    done, refused = await waiting.receive(2)
    assert done == b"OK"
    assert str(refused).startswith("LOADING")
    assert await waiting.is_closed()
    late = await served.connect()
    pong, refused = await late.ask("PING", "GET a")
    assert pong == b"PONG"
    assert str(refused) == "LOADING not serving: draining"
    served.admission.open()
    assert await late.ask("SET a 1") == [b"OK"]


async def test_a_client_that_breaks_off_cancels_what_it_asked_for(
    served: Served, connection: Connection
) -> None:
    connection.send("GET slow", "GET slow1")
    await served.until(lambda: served.driver.waiting == 2)
    linger = struct.pack("ii", 1, 0)
    connection.writer.get_extra_info("socket").setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, linger
    )
    connection.writer.transport.abort()
    await served.until(lambda: served.driver.waiting == 0)
    assert served.admission.in_flight == 0
