"""Attacks on the port for Redis clients."""

from __future__ import annotations

import asyncio
import os
import resource
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
