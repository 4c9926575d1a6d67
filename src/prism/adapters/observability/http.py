"""The HTTP server beside gRPC, for probes and metrics."""

from __future__ import annotations

from prism.adapters.asgi import AsgiServer
from prism.adapters.observability.endpoints import Endpoints

_GRACE_S = 1.0


def http_server(endpoints: Endpoints, host: str, port: int) -> AsgiServer:
    """The server, not started yet."""
    return AsgiServer(
        endpoints,
        bind=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
        remedy=(
            "stop it, choose another with --metrics-port (0 picks a free one), or give --no-metrics"
        ),
        timeout_graceful_shutdown=_GRACE_S,
    )
