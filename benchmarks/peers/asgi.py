"""A bare gRPC-over-ASGI handler on h2corn's embedded Server: `python -m benchmarks.peers.asgi`."""

from __future__ import annotations

import asyncio
from typing import Any

import h2corn

from benchmarks.peers.bare import HANDLERS, announce

_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_OK = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}


async def answer(scope: Any, receive: Any, send: Any) -> None:
    """An ASGI application of unary calls that come whole, and never fail."""
    payload = (await receive())["body"][5:]
    reply = HANDLERS[scope["path"]](payload)
    await send(_START)
    body = b"\0" + len(reply).to_bytes(4, "big") + reply
    await send({"type": "http.response.body", "body": body})
    await send(_OK)


async def serve() -> None:
    """Serve on a free port until killed."""
    config = h2corn.Config(
        bind=("127.0.0.1:0",),
        grpc=True,
        http1=False,
        access_log=False,
        lifespan="off",
        runtime_threads=1,
        max_concurrent_streams=1 << 16,
    )
    server = h2corn.Server(answer, config)
    serving = asyncio.create_task(server.serve())
    await server.wait_started()
    announce(server.addresses[0])
    await serving


if __name__ == "__main__":
    # uvloop makes no difference here, as measured: h2corn has its sockets to itself.
    asyncio.run(serve())
