"""SET and DELEX on the condition that a key holds a value.

Redis has them since 8.4: https://redis.io/docs/latest/commands/delex/
"""

from __future__ import annotations

import pytest
from hiredis import ReplyError

from tests.unit.resp.conftest import Connection


async def test_set_if_the_key_holds_a_value(connection: Connection) -> None:
    assert await connection.ask("SET a 2 IFEQ 1", "GET a") == [None, None]
    assert await connection.ask("SET a 1", "SET a 2 ifeq 1", "GET a") == [b"OK", b"OK", b"2"]
    assert await connection.ask("SET a 3 IFEQ 1", "GET a") == [None, b"2"]
    assert await connection.ask("SET a 3 IFEQ 2 GET EX 100", "GET a") == [b"2", b"3"]
    assert await connection.ask("TTL a") == [100]


async def test_set_if_the_key_does_not_hold_a_value(connection: Connection) -> None:
    assert await connection.ask("SET a 1 IFNE 1", "SET a 2 IFNE 5") == [b"OK", b"OK"]
    assert await connection.ask("SET a 3 IFNE 2", "GET a") == [None, b"2"]


async def test_delete_if_the_key_holds_a_value(connection: Connection) -> None:
    assert await connection.ask("SET a 1", "DELEX a IFEQ 2", "GET a") == [b"OK", 0, b"1"]
    assert await connection.ask("DELEX a IFNE 1", "DELEX a IFNE 2") == [0, 1]
    assert await connection.ask("DELEX a IFEQ 1", "DELEX a IFNE 1", "DELEX a") == [0, 0, 0]
    assert await connection.ask("SET a 1", "DELEX a", "EXISTS a") == [b"OK", 1, 0]


@pytest.mark.parametrize(
    "command",
    [
        "SET a 1 IFEQ",
        "SET a 1 NX IFEQ 2",
        "SET a 1 IFEQ 2 XX",
        "DELEX a IFEQ",
        "DELEX a NX 1",
        "DELEX a IFEQ 1 2",
    ],
)
async def test_mistakes_are_refused(connection: Connection, command: str) -> None:
    (reply,) = await connection.ask(command)
    assert isinstance(reply, ReplyError)
    assert "syntax error" in str(reply)
