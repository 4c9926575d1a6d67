"""64 gRPC callers in one Python process: `python -m benchmarks.callers CLIENT ADDRESS SECONDS`.

CLIENT is `prism` for prism.connect, or `stub` for a stub like those that protoc generates.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import grpc

import prism
from benchmarks.h2load import KEYS, VALUE
from prism.cli.bench.closed_loop import ClosedLoop
from prism.v1 import keyvalue_pb2 as pb

CALLERS = 64

Get = Callable[[], Awaitable[object]]


@asynccontextmanager
async def _prism(address: str) -> AsyncIterator[Get]:
    async with prism.connect(address) as kv:
        entry = await kv.get(KEYS[0])
        assert entry is not None
        assert entry.value == VALUE
        yield lambda: kv.get(KEYS[0])


@asynccontextmanager
async def _stub(address: str) -> AsyncIterator[Get]:
    async with grpc.aio.insecure_channel(address) as channel:
        method = channel.unary_unary(
            "/prism.v1.KeyValueService/Get",
            request_serializer=pb.GetRequest.SerializeToString,
            response_deserializer=pb.GetResponse.FromString,
        )
        assert (await method(pb.GetRequest(key=KEYS[0]))).entry.value == VALUE

        # With a timeout, because prism.connect sets one too.
        yield lambda: method(pb.GetRequest(key=KEYS[0]), timeout=5)


CLIENTS = {"prism": _prism, "stub": _stub}


async def rate(client: str, address: str, seconds: float) -> float:
    """Return gets per second."""
    loop = ClosedLoop(callers=CALLERS)
    async with CLIENTS[client](address) as get:
        await loop.run(lambda: ("get", get()), seconds)
    total = loop.total
    if total.failed:
        raise SystemExit(f"calls failed: {total.failed}")
    return total.succeeded.count / loop.seconds


if __name__ == "__main__":
    sys.stdout.write(f"{asyncio.run(rate(sys.argv[1], sys.argv[2], float(sys.argv[3])))}\n")
