"""A bare handler on grpc.aio, with uvloop: `python -m benchmarks.peers.grpc_aio`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import uvloop

from benchmarks.peers.bare import HANDLERS, announce


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self) -> None:
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            path: grpc.unary_unary_rpc_method_handler(_async(handle))
            for path, handle in HANDLERS.items()
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)


def _async(handle: Callable[[bytes], bytes]) -> Callable[[bytes, Any], Awaitable[bytes]]:
    async def answer(payload: bytes, _: Any) -> bytes:
        return handle(payload)

    return answer


async def serve() -> None:
    """Serve on a free port until killed."""
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((_Handlers(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    announce(f"127.0.0.1:{port}")
    await server.wait_for_termination()


if __name__ == "__main__":
    uvloop.run(serve())
