"""Watches through a proxy cost the proxy no descriptor each."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import grpc

import prism
from prism.adapters.wire.methods import path_of
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.supervision.conftest import Proxy

WATCHES = 300


def descriptors(process_id: int) -> int:
    return len(list(Path(f"/proc/{process_id}/fd").iterdir()))


async def test_300_watches_through_a_proxy_need_few_descriptors(
    start_proxy: Callable[..., Proxy],
) -> None:
    proxy = start_proxy("--pattern", "cache=memstore")
    process_id = proxy.process.pid
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(prism.connect(proxy.address))
        await client.set("k", b"before")
        before = descriptors(process_id)
        limits = (before + 20, before + 20)
        resource.prlimit(process_id, resource.RLIMIT_NOFILE, limits)
        calls: list[Any] = []
        for _ in range(2):
            channel: Any = await stack.enter_async_context(
                grpc.aio.insecure_channel(proxy.address, [("grpc.use_local_subchannel_pool", 1)])
            )
            watch = channel.unary_stream(path_of("Watch"))
            request = pb.WatchRequest(prefix="k").SerializeToString()
            calls += [watch(request) for _ in range(WATCHES // 2)]

        async def next_message(call: Any) -> pb.WatchResponse:
            async with asyncio.timeout(30):
                return pb.WatchResponse.FromString(await call.read())

        for started in await asyncio.gather(*map(next_message, calls)):
            assert started.WhichOneof("message") == "started"
        assert descriptors(process_id) <= before + 10
        await client.set("k", b"after")
        for message in await asyncio.gather(*map(next_message, calls)):
            assert message.event.value == b"after"
        for call in calls:
            call.cancel()
        # The connections of the callers are left.
        async with asyncio.timeout(30):
            while descriptors(process_id) > before + 2:
                await asyncio.sleep(0.02)
