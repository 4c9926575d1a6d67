"""Transports: each listens, and passes the bytes of calls to the servicers and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prism.domain.connection_budget import UnreadReplies
from prism.domain.turns import Turns

if TYPE_CHECKING:
    from prism.adapters.grpc.services import Served
    from prism.adapters.grpc.transports.grpcio import GrpcioServer
    from prism.adapters.grpc.transports.h2corn import H2cornServer
    from prism.adapters.grpc.transports.options import ServerOptions


def server_on(
    transport: str,
    services: Served,
    options: ServerOptions,
    unread: UnreadReplies | None = None,
    turns: Turns | None = None,
) -> GrpcioServer | H2cornServer:
    """Return a server on a transport.

    Args:
        transport: `grpcio` or `h2corn`.
        unread: replies that callers have not read; None: those of this server alone.
        turns: turns of the event loop, in which work begins; None: of this server alone.
    """
    unread, turns = unread or UnreadReplies(), turns or Turns()
    # Only the chosen transport is imported.
    if transport == "grpcio":
        from prism.adapters.grpc.transports.grpcio import GrpcioServer

        return GrpcioServer(services, options, unread, turns)
    from prism.adapters.grpc.transports.h2corn import H2cornServer

    return H2cornServer(services, options, unread, turns)
