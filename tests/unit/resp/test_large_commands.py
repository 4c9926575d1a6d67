"""One command with thousands of arguments, or a long one, takes no time from the others."""

from __future__ import annotations

import pytest

from tests.unit.resp.conftest import Connection, encode

_MANY = [b"%d" % number for number in range(1_001)]
_PATTERNS = [b"__keyspace@0__:%d*" % number for number in range(1_001)]
_PREFIXES = [part for number in range(1_001) for part in (b"PREFIX", b"%04d" % number)]


@pytest.mark.parametrize(
    ("command", "refusal"),
    [
        ([b"KEYS", b"[ab]" * 1_000], "ERR the pattern has 4,000 bytes; the limit is 2,112"),
        ([b"SCAN", b"0", b"MATCH", b"*a" * 2_000], "ERR the pattern has 4,000 bytes"),
        ([b"PSUBSCRIBE", b"__keyspace@0__:" + b"?" * 3_000], "ERR the pattern has 3,015 bytes"),
        ([b"PSUBSCRIBE", *_PATTERNS], "ERR the limit of 1,000 subscriptions"),
        ([b"PUNSUBSCRIBE", *_PATTERNS], "ERR wrong number of arguments for 'punsubscribe'"),
        ([b"CLIENT", b"TRACKING", b"ON", b"BCAST", *_PREFIXES], "ERR the limit of 1,000 subscr"),
        ([b"CONFIG", b"GET", *_MANY[:900]], "ERR the names have more than 2,112 bytes together"),
        ([b"CONFIG", b"GET", *_MANY], "ERR wrong number of arguments for 'config' command: at mo"),
        ([b"COMMAND", b"INFO", *_MANY], "ERR wrong number of arguments for 'command' command"),
        ([b"CLIENT", b"SETNAME", b"x" * 257], "ERR Client names cannot be longer than 256 bytes."),
        ([b"CLIENT", b"SETINFO", b"LIB-NAME", b"x" * 257], "ERR LIB-NAME cannot be longer than"),
        ([b"SCRIPT", b"LOAD", b"a " * 9_000], "ERR Prism runs no Lua"),
        ([b"MSETNX", *_MANY, *_MANY, b"v", b"v"], "OOM the transaction reads and writes more th"),
    ],
    ids=lambda value: value[0].decode() if isinstance(value, list) else "",
)
async def test_what_would_hold_up_the_others_is_refused(
    connection: Connection, command: list[bytes], refusal: str
) -> None:
    await connection.ask("HELLO 3")
    connection.writer.write(encode(*command))
    (reply,) = await connection.receive()
    assert str(reply).startswith(refusal)
    assert await connection.ask("PING") == [b"PONG"]


async def test_a_number_of_thousands_of_digits_is_no_client(connection: Connection) -> None:
    assert await connection.ask(b"CLIENT LIST ID " + b"9" * 5_000) == [b""]


async def test_an_error_repeats_the_beginning_of_what_was_sent(connection: Connection) -> None:
    (refused,) = await connection.ask(b"HELLO 3 " + b"x" * 100_000)
    assert len(str(refused)) < 200
