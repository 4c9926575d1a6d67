"""A call that the server refuses for want of room is made again a moment later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest
from h2.errors import ErrorCodes

from prism.adapters.client.channel import Channel
from prism.adapters.client.key_value import KeyValueClient
from prism.ports import BackendUnavailable, Outcome
from prism.v1 import keyvalue_pb2 as pb
from tests.servers.http2_peer import Peer, http2_peers


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[KeyValueClient, Peer]]:
    async with http2_peers() as peers:
        channel = Channel(
            peers.address, timeout=timedelta(seconds=30), tls=None, admin_token=None, streams=False
        )
        client = KeyValueClient(channel)
        call = asyncio.create_task(client.set("first", b"1"))
        peer = await peers.peer()
        peer.answer(await peer.stream(), pb.SetResponse(version=1).SerializeToString())
        assert await call == 1
        try:
            yield client, peer
        finally:
            await channel.close()


async def refuse(peer: Peer, first: int, times: int) -> None:
    for number in range(first, first + times):
        peer.reset(await peer.stream(number), ErrorCodes.REFUSED_STREAM)


async def test_call_without_room_is_made_again_on_the_same_connection() -> None:
    async with connected() as (client, peer):
        call = asyncio.create_task(client.set("key", b"1"))
        await refuse(peer, 2, 3)
        peer.answer(await peer.stream(5), pb.SetResponse(version=2).SerializeToString())
        assert await call == 2
        assert peer.requests[3] == peer.requests[9]


async def test_call_that_never_has_room_is_not_applied() -> None:
    async with connected() as (client, peer):
        call = asyncio.create_task(client.set("key", b"1"))
        await refuse(peer, 2, 5)
        with pytest.raises(BackendUnavailable, match="has no room for another call") as failure:
            await call
        assert failure.value.outcome is Outcome.NOT_APPLIED
