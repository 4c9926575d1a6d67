"""Servicers on h2corn, an HTTP/2 server in Rust: the default transport.

https://h2corn.monicz.dev/grpc/
"""

from __future__ import annotations

from prism.adapters.asgi import AsgiServer
from prism.adapters.grpc.services import Served
from prism.adapters.grpc.transports.asgi import GrpcOverAsgi
from prism.adapters.grpc.transports.options import TAKEN, ServerOptions, clear_unix_socket

# Admission limits the calls of one connection, with an error. This limit must be far above,
# because here a caller waits without an error.
_MAX_STREAMS = 1 << 16


class H2cornServer:
    """Server on h2corn; opens nothing before `start`.

    Attributes:
        addresses: addresses that it listens on; empty before `start`.
    """

    def __init__(self, services: Served, options: ServerOptions) -> None:
        self.addresses: tuple[str, ...] = ()
        self._options = options
        tls = options.tls
        self._server = AsgiServer(
            GrpcOverAsgi(services.calls, max_message_bytes=options.max_message_bytes),
            bind=options.tcp_target if options.socket is None else f"unix:{options.socket}",
            remedy=TAKEN,
            grpc=True,
            http1=False,
            max_concurrent_streams=_MAX_STREAMS,
            timeout_graceful_shutdown=options.grace.total_seconds(),
            # A stream may be idle for any time.
            timeout_keep_alive=0.0,
            h2_timeout_response_stall=0.0,
            uds_permissions=None if options.socket is None else 0o600,
            certfile=tls and tls.cert,
            keyfile=tls and tls.key,
            ca_certs=tls and tls.client_ca,
            cert_reqs="required" if tls and tls.client_ca else "none",
        )

    async def start(self) -> tuple[str, ...]:
        """Listen and serve.

        Returns:
            The addresses to connect to: `host:port`, or `unix:PATH`.

        Raises:
            PreconditionFailed: the port or socket is taken.
            InvalidArgument: a TLS file cannot be used.
        """
        if self._options.tls is not None:
            self._options.tls.check()
        if self._options.socket is not None:
            clear_unix_socket(self._options.socket)
        self.addresses = (await self._server.start(),)
        return self.addresses

    async def stop(self) -> None:
        """Refuse new connections, wait the grace period for the last answers, and close."""
        await self._server.stop()
