"""Attacks by valid work, of which one connection asks for as much as it can."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack

from prism.v1 import keyvalue_pb2 as pb
from tests.attack.attacks.calls import BATCH_GET, BATCH_SET, OPERATE, SCAN, summary_of
from tests.attack.peer import Peer, message
from tests.attack.registry import Place, attack, require
from tests.attack.target import Target

_KEYS = 1_000
_WINDOW = 1 << 24


async def _fill(peer: Peer, target: Target) -> None:
    """Store the keys that the calls are about."""
    keys = [f"expensive/{i}" for i in range(_KEYS)]
    request = pb.BatchSetRequest(keys=keys, values=[b"x"] * _KEYS)
    body = message(request.SerializeToString())
    await peer.send(peer.call(BATCH_SET, None, *target.headers), body, end=True)
    await peer.wait_answered(1)


async def _calls(target: Target, path: str, body: bytes) -> str:
    """Keep 1,000 calls open on one connection."""
    async with Peer.connect(target.grpc_port, window=_WINDOW) as peer:
        await _fill(peer, target)
        answered = 1
        for _ in range(target.size(4, 1)):
            streams = [peer.call(path, None, *target.headers) for _ in range(1_000)]
            for stream in streams:
                await peer.send(stream, body, end=True)
            answered += len(streams)
            await peer.wait_answered(answered, 60)
        require(
            set(peer.statuses) <= {"0", "8"}, summary_of(peer.statuses, peer.resets, peer.closed)
        )
        return summary_of(peer.statuses, peer.resets, peer.closed)


async def _operations(target: Target, operations: Iterable[pb.Operation]) -> str:
    """Send the same long message again and again on many operation streams of one connection."""
    body = message(pb.OperateRequest(operations=operations).SerializeToString())
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(Peer.connect(target.grpc_port, window=_WINDOW))
        await _fill(peer, target)
        count = target.size(40, 5)
        streams = [peer.call(OPERATE, None, *target.headers) for _ in range(count)]
        await asyncio.gather(*(peer.send(stream, body, end=True) for stream in streams))
        await peer.wait_answered(count + 1, 60)
        return summary_of(
            peer.statuses, peer.resets, f"{peer.received >> 20} MiB of replies", peer.closed
        )


@attack(Place.SERVER, Place.PROXY)
async def expensive_batches(target: Target) -> str:
    """1,000 BatchGets of 1,000 keys at once on one connection."""
    request = pb.BatchGetRequest(keys=[f"expensive/{i}" for i in range(_KEYS)])
    return await _calls(target, BATCH_GET, message(request.SerializeToString()))


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,))
async def expensive_scans(target: Target) -> str:
    """1,000 Scans of 1,000 keys at once on one connection."""
    request = pb.ScanRequest(prefix="expensive/", page_size=_KEYS, include_values=True)
    return await _calls(target, SCAN, message(request.SerializeToString()))


@attack(Place.SERVER, Place.PROXY)
async def long_messages_of_gets(target: Target) -> str:
    """Operate messages of 32,000 Gets each, on many streams at once."""
    get = pb.GetRequest(key="small")
    return await _operations(target, [pb.Operation(id=i + 1, get=get) for i in range(32_000)])


@attack(Place.SERVER, Place.PROXY)
async def long_messages_of_scans(target: Target) -> str:
    """Operate messages of 1,000 Scans of 1,000 keys each, on many streams at once."""
    scan = pb.ScanRequest(prefix="expensive/", page_size=_KEYS, include_values=True)
    return await _operations(target, [pb.Operation(id=i + 1, scan=scan) for i in range(1_000)])


@attack(Place.REDIS, short=(Place.REDIS,))
async def expensive_redis_commands(target: Target) -> str:
    """KEYS, DBSIZE and MGET on 100,000 keys, hundreds of each in one pipeline."""
    keys = [f"expensive/{i}" for i in range(target.size(100_000, 20_000))]
    reader, writer = await asyncio.open_connection("127.0.0.1", target.redis_port)
    for begin in range(0, len(keys), _KEYS):
        writer.write(
            _command("MSET", *(part for key in keys[begin : begin + _KEYS] for part in (key, "x")))
        )
        require(await reader.readline() == b"+OK\r\n", "MSET was refused")
    commands = (_command("KEYS", "nothing*x"), _command("DBSIZE"), _command("MGET", *keys[:_KEYS]))
    count = target.size(200, 20)
    writer.write(b"".join(commands) * count + _command("ECHO", "the end"))
    received = 0
    async with asyncio.timeout(80):
        while (line := await reader.readline()) != b"the end\r\n":
            require(line, f"closed after {received:,} lines")
            received += 1
    writer.close()
    return f"{count:,} of each were answered"


def _command(*parts: str) -> bytes:
    return b"*%d\r\n" % len(parts) + b"".join(
        b"$%d\r\n%s\r\n" % (len(part), part.encode()) for part in parts
    )
