"""Bare servers to compare with, built as fairly as we can: `python -m benchmarks.peers NAME`.

NAME is `grpc.aio`, a generic handler on grpc.aio with uvloop, `asgi`, an application on h2corn's
embedded server, or `grpc-go`, the server in Go that `benchmarks.go` has built. All decode, look
into a dict (a map) and encode: no limits, no deadlines.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from itertools import count
from typing import Any, NoReturn

from prism.v1 import keyvalue_pb2 as pb

_SERVICE = "/prism.v1.KeyValueService/"

_stored: dict[str, tuple[bytes, int]] = {}
_versions = count(1)


def _get(payload: bytes) -> bytes:
    found = _stored.get(pb.GetRequest.FromString(payload).key)
    if found is None:
        return pb.GetResponse().SerializeToString()
    value, version = found
    return pb.GetResponse(entry=pb.Entry(value=value, version=version)).SerializeToString()


def _set(payload: bytes) -> bytes:
    request = pb.SetRequest.FromString(payload)
    version = next(_versions)
    _stored[request.key] = (request.value, version)
    return pb.SetResponse(version=version).SerializeToString()


_HANDLERS: dict[str, Callable[[bytes], bytes]] = {_SERVICE + "Get": _get, _SERVICE + "Set": _set}


def announce(address: str) -> None:
    """Report on stderr that the server serves, in the format of Prism's log."""
    sys.stderr.write(json.dumps({"message": "serving", "grpc_address": address}) + "\n")
    sys.stderr.flush()


def serve_on_grpc_aio() -> None:
    """Serve on a free port until killed."""
    import grpc
    import uvloop

    def handler(handle: Callable[[bytes], bytes]) -> grpc.RpcMethodHandler[Any, Any]:
        async def respond(payload: bytes, _: object) -> bytes:
            return handle(payload)

        return grpc.unary_unary_rpc_method_handler(respond)

    handlers = {path: handler(handle) for path, handle in _HANDLERS.items()}

    class Handlers(grpc.GenericRpcHandler):
        def service(
            self, handler_call_details: grpc.HandlerCallDetails
        ) -> grpc.RpcMethodHandler[Any, Any] | None:
            return handlers.get(handler_call_details.method)

    async def serve() -> None:
        server = grpc.aio.server()
        server.add_generic_rpc_handlers((Handlers(),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        announce(f"127.0.0.1:{port}")
        await server.wait_for_termination()

    uvloop.run(serve())


_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/grpc")],
    "trailers": True,
}
_OK = {"type": "http.response.trailers", "headers": [(b"grpc-status", b"0")]}

Event = MutableMapping[str, Any]


async def _application(
    scope: Event, receive: Callable[[], Awaitable[Event]], send: Callable[[Event], Awaitable[None]]
) -> None:
    """ASGI application for unary calls that arrive in one piece and never fail."""
    payload = (await receive())["body"][5:]
    reply = _HANDLERS[scope["path"]](payload)
    await send(_START)
    body = b"\0" + len(reply).to_bytes(4, "big") + reply
    await send({"type": "http.response.body", "body": body})
    await send(_OK)


def serve_on_h2corn() -> None:
    """Serve on a free port until killed."""
    import h2corn

    config = h2corn.Config(
        bind=("127.0.0.1:0",),
        grpc=True,
        http1=False,
        access_log=False,
        lifespan="off",
        runtime_threads=1,
        max_concurrent_streams=1 << 16,
    )

    async def serve() -> None:
        server = h2corn.Server(_application, config)
        serving = asyncio.create_task(server.serve())
        await server.wait_started()
        announce(server.addresses[0])
        await serving

    # Measured: uvloop makes no difference here, because h2corn handles its own sockets.
    asyncio.run(serve())


def become_go_server() -> NoReturn:
    """Replace this process by the server in Go.

    Its runtime starts threads at once. By way of this process, which is pinned before it is
    replaced, all of them are on the core, and it counts one processor.
    """
    from benchmarks.go import PROGRAM

    os.execv(PROGRAM, [str(PROGRAM)])  # noqa: S606  (a program of this package)


if __name__ == "__main__":
    {"grpc.aio": serve_on_grpc_aio, "asgi": serve_on_h2corn, "grpc-go": become_go_server}[
        sys.argv[1]
    ]()
