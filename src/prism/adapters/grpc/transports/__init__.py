"""Transports: each listens, and passes the bytes of calls to the servicers and back."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from prism.domain.connection_budget import UnreadReplies
from prism.domain.turns import Turns
from prism.ports import InvalidArgument

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

    Raises:
        InvalidArgument: the least version of TLS cannot be set any more.
    """
    unread, turns = unread or UnreadReplies(), turns or Turns()
    # Only the chosen transport is imported.
    if transport == "grpcio":
        if options.tls is not None and options.tls.min_version == "1.3":
            _leave_out_tls_1_2()
        from prism.adapters.grpc.transports.grpcio import GrpcioServer

        return GrpcioServer(services, options, unread, turns)
    from prism.adapters.grpc.transports.h2corn import H2cornServer

    return H2cornServer(services, options, unread, turns)


_SUITES = "GRPC_SSL_CIPHER_SUITES"
_SUITES_OF_TLS_1_3 = "PSK-AES128-CBC-SHA"
"""A suite of TLS 1.2 that needs a key which no side has; those of TLS 1.3 need no mention."""


def _leave_out_tls_1_2() -> None:
    """Leave grpcio, which has no option for a least version, no usable suite of TLS 1.2.

    https://github.com/grpc/grpc/blob/master/doc/environment_variables.md
    """
    if "grpc._cython" in sys.modules and os.environ.get(_SUITES) != _SUITES_OF_TLS_1_3:
        raise InvalidArgument(
            "tls_min_version is 1.3, and grpcio is loaded already, without this minimum: start the "
            "server in a process of its own"
        )
    os.environ[_SUITES] = _SUITES_OF_TLS_1_3
