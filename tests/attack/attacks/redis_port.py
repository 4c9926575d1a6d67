"""Attacks on the port for Redis clients."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import Iterable
from contextlib import suppress

from tests.attack.attacks.connections import open_connections
from tests.attack.bystander import BIG_BYTES
from tests.attack.registry import Place, attack, require
from tests.attack.target import Target

_GET_BIG = b"*2\r\n$3\r\nGET\r\n$3\r\nbig\r\n"

_HOSTILE = (
    b"*4294967295\r\n",
    b"*-9223372036854775808\r\n",
    b"*65537\r\n",
    b"*2\r\n$4294967295\r\n",
    b"*1\r\n$536870912\r\n" + b"x" * 65536,
    b"*1\r\n$-5\r\n",
    b"*" + b"9" * 100,
    b"x" * 100_000,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
)
"""Each is the beginning of something that no client may send."""


async def _answer(port: int, request: bytes, within_s: float = 10) -> bytes:
    """Send something, and return everything until the server closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        async with asyncio.timeout(within_s):
            with suppress(ConnectionError):
                writer.write(request)
                return await reader.read()
    finally:
        writer.close()
    return b""


async def _ping(target: Target, within_s: float = 10) -> str:
    """Require that a new connection is served soon."""
    for _ in range(int(within_s / 0.25)):
        with suppress(OSError, TimeoutError):
            answer = await _answer(target.redis_port, b"PING\r\nQUIT\r\n", 2)
            if answer == b"+PONG\r\n+OK\r\n":
                return "a new connection is served afterwards"
        await asyncio.sleep(0.25)
    require(False, "no new connection is served afterwards")
    return ""


@attack(Place.REDIS, short=(Place.REDIS,))
async def hostile_arrays(target: Target) -> str:
    """Arrays and strings that announce gigabytes, wrong numbers, noise, and another protocol."""
    for _ in range(target.size(50, 5)):
        answers = await asyncio.gather(*(_answer(target.redis_port, each) for each in _HOSTILE))
        wrong = [
            hostile[:30]
            for hostile, answer in zip(_HOSTILE, answers, strict=True)
            if answer and not answer.startswith(b"-ERR Protocol error")
        ]
        require(not wrong, f"not refused: {wrong}")
    with suppress(TimeoutError):
        await _answer(target.redis_port, os.urandom(1 << 20), 3)
    return f"each was refused; {await _ping(target)}"


@attack(Place.REDIS)
async def half_redis_commands(target: Target) -> str:
    """1,000 connections that send a megabyte of a command, and no more."""
    half = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4000000\r\n" + bytes(1_000_000)
    held = await open_connections(target.redis_port, target.size(1_000, 200), half)
    await asyncio.sleep(2)
    said = await _ping(target)
    for each in held:
        each.close()
    return said


@attack(Place.REDIS, short=(Place.REDIS,))
async def unread_redis_replies(target: Target) -> str:
    """Connections that ask for a gigabyte each and read nothing."""
    count = BIG_BYTES // 1000
    pipeline = _GET_BIG * target.size(count, 200)
    held = await open_connections(target.redis_port, target.size(200, 50), pipeline)
    await asyncio.sleep(target.size(5, 1))
    said = await _ping(target)
    for each in held:
        each.close()
    return said


@attack(Place.REDIS)
async def unread_redis_messages(target: Target) -> str:
    """Subscribers that read nothing, while keys are written as fast as the port takes them."""
    channel = b"SUBSCRIBE __keyevent@0__:set\r\n"
    held = await open_connections(target.redis_port, 200, channel)
    writes = b"*3\r\n$3\r\nSET\r\n$900\r\n" + b"k" * 900 + b"\r\n$1\r\nv\r\n"
    for _ in range(target.size(40, 5)):
        with suppress(TimeoutError):
            await _answer(target.redis_port, writes * 500 + b"QUIT\r\n")
    said = await _ping(target)
    for each in held:
        each.close()
    return said


@attack(Place.REDIS)
async def ten_thousand_redis_connections(target: Target) -> str:
    """10,000 connections that say one thing and stay."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = min(target.size(10_000, 500), most - 100)
    held = await open_connections(target.redis_port, count, b"PING\r\n")
    await asyncio.sleep(1)
    said = await _ping(target)
    for each in held:
        each.close()
    return f"{count:,} connections; {said}"


def _command(*parts: str | bytes) -> bytes:
    encoded = [part.encode() if isinstance(part, str) else part for part in parts]
    lines = [b"$%d\r\n%b\r\n" % (len(part), part) for part in encoded]
    return b"*%d\r\n%b" % (len(parts), b"".join(lines))


_END = _command("ECHO", "the end")


async def _reply_to(port: int, request: bytes) -> bytes:
    """Send something on a connection of its own; return the last replies to it, or what came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    last = b""
    sending = asyncio.create_task(_write(writer, request + _END))
    try:
        while not last.endswith(b"the end\r\n") and (data := await reader.read(1 << 16)):
            last = (last + data)[-300:]
    except ConnectionError:
        pass
    finally:
        sending.cancel()
        writer.close()
    return last


async def _write(writer: asyncio.StreamWriter, request: bytes) -> None:
    with suppress(ConnectionError):
        writer.write(request)
        await writer.drain()


async def _replies_to(port: int, requests: Iterable[bytes]) -> list[bytes]:
    async with asyncio.timeout(80):
        return await asyncio.gather(*(_reply_to(port, each) for each in requests))


@attack(Place.REDIS, short=(Place.REDIS,))
async def long_redis_transactions(target: Target) -> str:
    """Connections that each run transactions of thousands of commands again and again."""
    size = target.size(9_000, 1_000)
    keys = [f"long/{number}" for number in range(900)]
    writes = b"".join(_command("SET", keys[i % 900], b"x" * 100) for i in range(size))
    reads = b"".join(_command("GET", keys[i % 900]) for i in range(size))
    # More keys than a transaction may have, so it is refused while it runs.
    wide = b"".join(
        _command("MGET", *(f"wide/{i * 200 + j}" for j in range(200))) for i in range(size // 200)
    )
    bodies = [_command("MULTI") + each + _command("EXEC") for each in (writes, reads, wide)]
    count = target.size(30, 6)
    ends = await _replies_to(
        target.redis_port, [bodies[i % 3] * target.size(3, 1) for i in range(count)]
    )
    answered = sum(end.endswith(b"the end\r\n") for end in ends)
    refused = sum(b"too many half-sent commands and transactions" in end for end in ends)
    require(answered + refused == count, f"{count - answered - refused} connections were cut")
    return f"{answered} connections were answered, {refused} refused; {await _ping(target)}"


@attack(Place.REDIS, short=(Place.REDIS,))
async def redis_commands_of_many_words(target: Target) -> str:
    """Patterns of megabytes, and thousands of arguments for each command that takes several."""
    many = [b"%d" % number for number in range(target.size(60_000, 20_000))]
    patterns = [b"__keyspace@0__:%b*" % each for each in many]
    prefixes = [part for each in many[:30_000] for part in (b"PREFIX", each.rjust(6))]
    long = b"[ab]*" * target.size(700_000, 100_000)
    requests = [
        *(_command(*parts, long) for parts in (("KEYS",), ("SCAN", "0", "MATCH"), ("PSUBSCRIBE",))),
        *(_command("COMMAND", *parts) for parts in (("LIST", "FILTERBY", "PATTERN", long),)),
        *(_command("COMMAND", name, *[b"get"] * len(many)) for name in ("INFO", "DOCS")),
        _command("CONFIG", "GET", *many),
        _command("PSUBSCRIBE", *patterns),
        _command("PUNSUBSCRIBE", *patterns),
        _command("HELLO", "3") + _command("CLIENT", "TRACKING", "ON", "BCAST", *prefixes),
        _command("SCRIPT", "LOAD", long.replace(b"*", b" ")),
        _command("CLIENT", "SETNAME", long),
        _command("CLIENT", "LIST", "ID", "9" * 5_000),
        *(_command(name, *many) for name in ("EXISTS", "DEL", "MGET", "MSETNX", "TOUCH")),
        b"CONFIG GET " + b"'' " * 20_000 + b"\r\n",
    ]
    for _ in range(target.size(2, 1)):
        await _replies_to(target.redis_port, requests)
    return f"{len(requests)} commands; {await _ping(target)}"


@attack(Place.REDIS, short=(Place.REDIS,))
async def kept_redis_memory(target: Target) -> str:
    """Connections that keep what they can: long transactions, watched keys, large commands."""
    keys = [f"{number:0990}" for number in range(1_000)]
    values = b"".join(_command("SET", key, b"x" * 300) for key in keys * 8)
    large = _command("DEL", *(f"{number:055}" for number in range(60_000)))
    kept = (_command("MULTI") + values[:4_000_000], _command("WATCH", *keys), large)
    held = []
    for request in kept:
        held += await open_connections(target.redis_port, target.size(50, 10), request)
        await asyncio.sleep(target.size(3, 1))
    # A large command of somebody else is run all the same, once those that run have ended.
    stored = b""
    for _ in range(40):
        stored = await _reply_to(target.redis_port, _command("SET", "k", b"x" * 1_000_000))
        if stored.startswith(b"+OK"):
            break
        await asyncio.sleep(0.5)
    said = await _ping(target)
    for each in held:
        each.close()
    require(stored.startswith(b"+OK"), f"a large SET was answered {stored[:80]!r}")
    return f"a large SET succeeds meanwhile; {said}"


@attack(Place.REDIS)
async def redis_patterns(target: Target) -> str:
    """100 subscribers, each with 300 patterns that take long to match, while keys are written."""
    stars = b"".join(_command("PSUBSCRIBE", f"__key*@0__:*k{'?' * i}*") for i in range(300))
    held = await open_connections(target.redis_port, target.size(100, 10), stars)
    await asyncio.sleep(2)
    write = _command("SET", "k" * 1_000, "v")
    for _ in range(target.size(20, 3)):
        await _reply_to(target.redis_port, write)
        await asyncio.sleep(0.2)
    said = await _ping(target)
    for each in held:
        each.close()
    return said
