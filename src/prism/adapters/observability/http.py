"""The HTTP server beside gRPC, for people, probes and metrics."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from prism.adapters.asgi import AsgiServer
from prism.adapters.observability.endpoints import Endpoints
from prism.adapters.observability.page.history import OperationSamples

_GRACE_S = 1.0


class EndpointServer:
    """Serves the endpoints until stopped, and has samples taken meanwhile."""

    def __init__(
        self, endpoints: Endpoints, samples: OperationSamples, host: str, port: int
    ) -> None:
        self._samples = samples
        self._sampling: asyncio.Task[None] | None = None
        self._server = AsgiServer(
            endpoints,
            bind=f"[{host}]:{port}" if ":" in host else f"{host}:{port}",
            remedy=(
                "stop it, choose another with --metrics-port (0 picks a free one), "
                "or give --no-metrics"
            ),
            timeout_graceful_shutdown=_GRACE_S,
        )

    async def start(self) -> str:
        """Listen and serve; as `AsgiServer.start`."""
        address = await self._server.start()
        self._sampling = asyncio.create_task(self._samples.keep_taking())
        return address

    async def stop(self) -> None:
        """Close; safe when it never started."""
        if self._sampling is not None:
            self._sampling.cancel()
            with suppress(asyncio.CancelledError):
                await self._sampling
            self._sampling = None
        await self._server.stop()
