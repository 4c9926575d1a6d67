"""Attacks by calls and streams that are begun and not finished."""

from __future__ import annotations

import asyncio
import gzip
import os
import signal
from collections import Counter
from contextlib import AsyncExitStack, suppress

from prism.v1 import keyvalue_pb2 as pb
from tests.attack.attacks.calls import (
    BATCH_GET,
    GET,
    GET_SMALL,
    HEALTH_WATCH,
    OPERATE,
    REFLECTION,
    SET,
    WATCH,
    WATCH_ALL,
    delimited,
    summary_of,
)
from tests.attack.peer import Peer, message
from tests.attack.registry import Place, attack, require
from tests.attack.target import HUNG, STEADY, Target, pattern_process

_EMPTY = message(b"")

_GRPCIO_CANNOT = "keep other calls under 250 ms while tens of thousands of streams begin"


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,), grpcio_cannot=_GRPCIO_CANNOT)
async def headers_without_a_body(target: Target) -> str:
    """Tens of thousands of calls with a deadline of 1 s that send nothing but headers."""
    statuses: Counter[str] = Counter()
    resets = 0
    count = target.size(30, 6)
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(Peer.connect(target.grpc_port)) for _ in range(count)
        ]
        for peer in peers:
            for _ in range(2_000):
                peer.call(GET, None, ("grpc-timeout", "1S"), *target.headers)
            await peer.drain()
            await asyncio.sleep(0.05)
        await asyncio.gather(*(peer.wait_answered(2_000, 8) for peer in peers))
        for peer in peers:
            statuses += peer.statuses
            resets += peer.resets
        open_ones = sum(not peer.closed and peer.answered < 1_000 for peer in peers)
        require(not open_ones, f"{open_ones} connections have calls that outlive their deadline")
        return f"of {2_000 * count:,} {summary_of(statuses, resets)}"


@attack(
    Place.SERVER,
    Place.PROXY,
    short=(Place.SERVER,),
    grpcio_cannot="bound the bytes of requests that are incomplete",
)
async def half_bodies(target: Target) -> str:
    """200 calls that send all of 4 MB but the last byte."""
    body = message(bytes(3_900_000))[:-1]

    async def one(peer: Peer) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(target.size(8, 3)):
                await peer.send(peer.call(BATCH_GET, None, *target.headers), body)

    async with AsyncExitStack() as stack:
        peers = [await stack.enter_async_context(Peer.connect(target.grpc_port)) for _ in range(10)]
        await asyncio.gather(*(one(peer) for peer in peers for _ in range(20)))
        statuses = sum((peer.statuses for peer in peers), Counter[str]())
        return f"of 200 {summary_of(statuses, sum(peer.resets for peer in peers))}"


async def _idle_streams(target: Target, path: str, body: bytes | None, *, ends: bool) -> str:
    """Open thousands of streams, and leave them open."""
    per_peer = 3_000
    async with AsyncExitStack() as stack:
        peers = [
            await stack.enter_async_context(Peer.connect(target.grpc_port))
            for _ in range(target.size(10, 2))
        ]
        for peer in peers:
            for _ in range(per_peer):
                stream = peer.call(path, body if ends else None, *target.headers)
                if body is not None and not ends:
                    await peer.send(stream, body)
            await peer.drain()
        await asyncio.sleep(target.size(8, 2))
        statuses = sum((peer.statuses for peer in peers), Counter[str]())
        closed = Counter(peer.closed for peer in peers if peer.closed)
        summary = summary_of(statuses, sum(peer.resets for peer in peers), *closed)
        return f"of {len(peers) * per_peer:,} {summary}"


@attack(Place.SERVER, Place.PROXY, grpcio_cannot=_GRPCIO_CANNOT)
async def idle_operation_streams(target: Target) -> str:
    """Thousands of operation streams on which nothing is sent."""
    return await _idle_streams(target, OPERATE, None, ends=False)


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,), grpcio_cannot=_GRPCIO_CANNOT)
async def idle_watches(target: Target) -> str:
    """Thousands of watches from few connections."""
    return await _idle_streams(target, WATCH, WATCH_ALL, ends=True)


@attack(grpcio_cannot=_GRPCIO_CANNOT)
async def idle_health_watches(target: Target) -> str:
    """Thousands of watches of the health."""
    return await _idle_streams(target, HEALTH_WATCH, _EMPTY, ends=True)


@attack(grpcio_cannot=_GRPCIO_CANNOT)
async def idle_reflection_streams(target: Target) -> str:
    """Thousands of streams of the reflection service on which nothing is sent."""
    return await _idle_streams(target, REFLECTION, None, ends=False)


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,))
async def empty_messages(target: Target) -> str:
    """Messages without content on streams of each kind, as fast as the server takes them."""
    many = _EMPTY * 12_000
    seen = []
    for path in (OPERATE, REFLECTION):
        taken = 0
        async with Peer.connect(target.grpc_port) as peer:
            stream = peer.call(path, None, *target.headers)
            with suppress(TimeoutError):
                async with asyncio.timeout(target.size(5, 1)):
                    while not peer.closed and stream not in peer.outcomes:
                        await peer.send(stream, many)
                        taken += 12_000
            seen.append(f"{taken:,} {summary_of(peer.statuses, peer.resets, peer.closed)}")
    return f"operations, reflection: {', '.join(seen)}"


@attack(Place.SERVER, Place.PROXY)
async def refused_operations(target: Target) -> str:
    """Operate messages of 30,000 operations of no kind, compressed to 200 bytes."""
    body = message(gzip.compress(delimited(1, b"\x08\x01") * 30_000), compressed=True)
    async with Peer.connect(target.grpc_port) as peer:
        extra = (("grpc-encoding", "gzip"), *target.headers)
        streams = [peer.call(OPERATE, None, *extra) for _ in range(20)]
        with suppress(TimeoutError):
            async with asyncio.timeout(target.size(8, 2)):
                for _ in range(4):
                    await asyncio.gather(*(peer.send(stream, body) for stream in streams))
                await peer.wait_closed()
        return f"{summary_of(peer.statuses, peer.resets, peer.closed)}, {peer.received >> 20} MiB"


@attack(Place.SERVER, Place.PROXY, short=(Place.PROXY,))
async def burst_of_calls(target: Target) -> str:
    """3,000 Sets at once on one connection, all of which must be answered properly."""
    body = message(pb.SetRequest(key="burst", value=b"x").SerializeToString())
    async with Peer.connect(target.grpc_port) as peer:
        for _ in range(3_000):
            peer.call(SET, body, *target.headers)
        await peer.wait_answered(3_000)
        seen = summary_of(peer.statuses, peer.resets, peer.closed)
        require(set(peer.statuses) <= {"0", "8", "14"}, seen)
        return seen


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,))
async def burst_of_a_stock_client(target: Target) -> str:
    """3,000 Gets at once by a stock client, none of which may end in CANCELLED."""
    # Here, since gRPC does not survive the fork that starts an attack.
    import grpc

    request = pb.GetRequest(key="small").SerializeToString()
    statuses: Counter[str] = Counter()

    async with grpc.aio.insecure_channel(f"127.0.0.1:{target.grpc_port}") as channel:
        get: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GET)

        async def one() -> None:
            try:
                await get(request, timeout=20, metadata=target.headers)
                statuses["0"] += 1
            except grpc.aio.AioRpcError as error:
                statuses[str(error.code().value[0])] += 1

        await asyncio.gather(*(one() for _ in range(3_000)))
    require(set(statuses) <= {"0", "8", "14"}, summary_of(statuses))
    return summary_of(statuses)


@attack(Place.PROXY, short=(Place.PROXY,))
async def deadlines_at_a_hung_pattern(target: Target) -> str:
    """400 simultaneous deadlines of a stock client at a frozen pattern.

    A watch and calls of the same client on another pattern must not notice.
    """
    import grpc

    pid = pattern_process(target.pid, HUNG)
    request = pb.GetRequest(key="small").SerializeToString()
    statuses: Counter[str] = Counter()
    others: Counter[str] = Counter()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{target.grpc_port}") as channel:
        get: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(GET)

        async def one(pattern: str, timeout_s: float, seen: Counter[str]) -> None:
            try:
                await get(request, timeout=timeout_s, metadata=(("prism-pattern", pattern),))
                seen["0"] += 1
            except grpc.aio.AioRpcError as error:
                seen[str(error.code().value[0])] += 1

        await one(HUNG, 5, Counter())
        os.kill(pid, signal.SIGSTOP)
        try:
            for _ in range(target.size(5, 2)):
                hung = [asyncio.create_task(one(HUNG, 1, statuses)) for _ in range(400)]
                while not all(task.done() for task in hung):
                    await one(STEADY, 5, others)
                    await asyncio.sleep(0.02)
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
    require(set(others) == {"0"}, f"healthy pattern, same connection: {summary_of(others)}")
    require(set(statuses) <= {"0", "4", "8", "14"}, summary_of(statuses))
    return f"hung: {summary_of(statuses)}; healthy pattern, same connection: {summary_of(others)}"


@attack(Place.PROXY, short=(Place.PROXY,))
async def thousand_watches_through_a_proxy(target: Target) -> str:
    """1,000 watches on one connection through a proxy."""
    async with Peer.connect(target.grpc_port) as peer:
        for _ in range(1_000):
            peer.call(WATCH, WATCH_ALL, *target.headers)
        await asyncio.sleep(target.size(8, 2))
        descriptors = len(os.listdir(f"/proc/{target.pid}/fd"))  # noqa: PTH208
        require(descriptors < 300, f"the proxy holds {descriptors} descriptors")
        peer.call(GET, GET_SMALL, *target.headers)
        return (
            f"{summary_of(peer.statuses, peer.resets)}; the proxy holds {descriptors} descriptors"
        )
