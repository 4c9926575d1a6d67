"""Attacks by callers that ask and do not read."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from prism.v1 import keyvalue_pb2 as pb
from tests.attack.attacks.calls import GET, GET_BIG, OPERATE, WATCH, WATCH_ALL, summary_of
from tests.attack.peer import Peer, message
from tests.attack.registry import Place, attack
from tests.attack.target import Target


def _operate_gets(count: int, first: int = 1) -> bytes:
    """Return a message of an operation stream that asks for the large value many times."""
    get = pb.GetRequest(key="big")
    operations = [pb.Operation(id=first + at, get=get) for at in range(count)]
    return message(pb.OperateRequest(operations=operations).SerializeToString())


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,))
async def unread_replies(target: Target) -> str:
    """600 Gets of 1 MB by a caller that lets nothing through."""
    async with Peer.connect(target.grpc_port, window=0, reads=False) as peer:
        for _ in range(600):
            peer.call(GET, GET_BIG, *target.headers)
            await asyncio.sleep(0.002)
        await asyncio.sleep(target.size(8, 1))
        return summary_of(peer.statuses, peer.resets, peer.closed)


@attack(Place.SERVER, Place.PROXY)
async def unread_operations(target: Target) -> str:
    """600 Gets of 1 MB through one operation stream that lets nothing through."""
    async with Peer.connect(target.grpc_port, window=0, reads=False) as peer:
        stream = peer.call(OPERATE, None, *target.headers)
        for first in range(1, 601, 10):
            await peer.send(stream, _operate_gets(10, first))
            await asyncio.sleep(0.01)
        await asyncio.sleep(target.size(8, 1))
        return summary_of(peer.statuses, peer.resets, peer.closed)


@attack()
async def unread_replies_of_many_connections(target: Target) -> str:
    """40 connections with 40 Gets of 1 MB each, none of which is read."""

    async def one() -> int:
        async with Peer.connect(target.grpc_port, window=0, reads=False) as peer:
            for _ in range(40):
                peer.call(GET, GET_BIG)
            await asyncio.sleep(target.size(8, 2))
            return peer.answered

    answered = await asyncio.gather(*(one() for _ in range(40)))
    return f"{sum(answered):,} of 1,600 calls ended"


@attack()
async def slow_reader(target: Target) -> str:
    """300 Gets of 1 MB by a caller that reads 1 MB a second."""
    async with Peer.connect(target.grpc_port, reads=False) as peer:
        calls = [peer.call(GET, GET_BIG) for _ in range(300)]
        for at in range(target.size(100, 20)):
            await asyncio.sleep(0.1)
            peer.open_windows(*calls[at : at + 1], size=100_000)
        return summary_of(peer.statuses, peer.resets, peer.closed)


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,))
async def broken_streams(target: Target) -> str:
    """Thousands of operation streams that are cancelled before their replies are read."""
    done = 0
    for _ in range(target.size(200, 12)):
        async with Peer.connect(target.grpc_port, window=0, reads=False) as peer:
            for _ in range(16):
                stream = peer.call(OPERATE, None, *target.headers)
                await peer.send(stream, _operate_gets(8))
                done += 1
            await asyncio.sleep(0.05)
    return f"{done:,} streams"


@attack(short=(Place.SERVER,))
async def reset_calls(target: Target) -> str:
    """Calls that are cancelled as soon as they are sent, again and again."""
    sent = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(target.size(8, 2)):
            while True:
                async with Peer.connect(target.grpc_port) as peer:
                    while not peer.closed:
                        for _ in range(50):
                            peer.reset(peer.call(GET, GET_BIG))
                        sent += 50
                        await peer.drain()
                        await asyncio.sleep(0.001)
                await asyncio.sleep(0.01)
    return f"{sent:,} calls"


@attack()
async def unread_events(target: Target) -> str:
    """Watches that are not read, while large values are written."""
    async with (
        Peer.connect(target.grpc_port, window=0, reads=False) as watcher,
        Peer.connect(target.grpc_port) as writer,
    ):
        for _ in range(50):
            watcher.call(WATCH, WATCH_ALL)
        await asyncio.sleep(0.3)
        body = message(pb.SetRequest(key="event", value=b"x" * 900_000).SerializeToString())
        count = target.size(60, 20)
        for _ in range(count):
            stream = writer.call("/prism.v1.KeyValueService/Set")
            await writer.send(stream, body, end=True)
        await writer.wait_answered(count)
        watches = summary_of(watcher.statuses, watcher.resets)
        return f"writer: {summary_of(writer.statuses)}; watches: {watches}"
