"""Attacks by messages that are small on the wire and large, or much work, in the server."""

from __future__ import annotations

import asyncio
import gzip

from tests.attack.attacks.calls import (
    BATCH_GET,
    GET,
    INITIALIZE,
    OPERATE,
    delimited,
    summary_of,
)
from tests.attack.peer import Peer, message
from tests.attack.registry import Place, attack, require
from tests.attack.target import Target

_GZIP = ("grpc-encoding", "gzip")

_COUNT = 2_000_000


async def _bomb(target: Target, path: str, plain: bytes) -> str:
    """Send a compressed message many times; every one must be refused."""
    bomb = message(gzip.compress(plain), compressed=True)
    rounds = target.size(5, 2)
    async with Peer.connect(target.grpc_port) as peer:
        for number in range(rounds):
            for _ in range(8):
                peer.call(path, bomb, _GZIP, *target.headers)
            await peer.wait_answered(8 * (number + 1))
        require(not peer.statuses["0"], f"accepted: {summary_of(peer.statuses)}")
        require(peer.answered == 8 * rounds, f"of {8 * rounds} {summary_of(peer.statuses)}")
        return (
            f"{len(bomb):,} bytes become {len(plain):,}: {summary_of(peer.statuses, peer.resets)}"
        )


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,))
async def compressed_batch_of_empty_keys(target: Target) -> str:
    """BatchGet of two million empty keys, compressed to 4 KB."""
    return await _bomb(target, BATCH_GET, b"\x0a\0" * _COUNT)


@attack(Place.SERVER, Place.PROXY, short=(Place.SERVER,))
async def compressed_cancel_ids(target: Target) -> str:
    """Operate message that cancels four million operations, compressed to 4 KB."""
    return await _bomb(target, OPERATE, delimited(2, b"\1" * (2 * _COUNT - 16)))


@attack(Place.SERVER, Place.PROXY)
async def compressed_operations(target: Target) -> str:
    """Operate message of two million empty operations, compressed to 4 KB."""
    return await _bomb(target, OPERATE, b"\x0a\0" * _COUNT)


@attack(Place.SERVER, Place.PROXY)
async def compressed_settings(target: Target) -> str:
    """Initialize with a million settings without name or value, compressed to 4 KB."""
    return await _bomb(target, INITIALIZE, b"\x0a\0" * _COUNT)


@attack()
async def compressed_nesting(target: Target) -> str:
    """Operate messages of many batches of many keys, compressed."""
    batch = delimited(1, delimited(17, b"\x0a\0" * 1_000))
    return await _bomb(target, OPERATE, batch * (4_000_000 // len(batch)))


@attack(grpcio_cannot="keep other calls under 250 ms while messages of 4 MB are decompressed")
async def unknown_fields(target: Target) -> str:
    """Get with two million fields that no message has: they are walked through, not kept."""
    bomb = message(gzip.compress(b"\x78\x01" * (_COUNT - 1) + b"\x0a\1k"), compressed=True)
    async with Peer.connect(target.grpc_port) as peer:
        for _ in range(target.size(40, 16)):
            peer.call(GET, bomb, _GZIP)
        await peer.wait_answered(target.size(40, 16))
        return summary_of(peer.statuses, peer.resets)


@attack()
async def large_messages(target: Target) -> str:
    """Batches of two million empty keys without compression, several at once."""
    body = message(b"\x0a\0" * 1_900_000)
    count = target.size(38, 8)
    async with Peer.connect(target.grpc_port) as peer:
        calls = [peer.call(BATCH_GET) for _ in range(count)]
        await asyncio.gather(*(_send(peer, call, body) for call in calls))
        await peer.wait_answered(count)
        require(not peer.statuses["0"], f"accepted: {summary_of(peer.statuses)}")
        return summary_of(peer.statuses, peer.resets)


async def _send(peer: Peer, call: int, body: bytes) -> None:
    try:
        async with asyncio.timeout(15):
            await peer.send(call, body, end=True)
    except TimeoutError:
        pass
