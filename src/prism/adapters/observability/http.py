"""The HTTP server beside gRPC, on h2corn: its page for probes needs no framework."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

from prism.ports import PreconditionFailed

if TYPE_CHECKING:
    import h2corn

_GRACE_S = 1.0


class HttpServer:
    """Serves an ASGI application until stopped; nothing is opened before `start`."""

    def __init__(self, app: Any, host: str, port: int) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._server: h2corn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen and serve.

        Returns:
            The address to connect to, `host:port`.

        Raises:
            PreconditionFailed: the port is taken, or cannot be listened on.
        """
        import h2corn

        _silence_banner()
        host = f"[{self._host}]" if ":" in self._host else self._host
        config = h2corn.Config(
            bind=(f"{host}:{self._port}",),
            access_log=False,
            lifespan="off",
            # What it may still have to say shares our stderr.
            log_format="json",
            runtime_threads=1,
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = h2corn.Server(self._app, config)
        serving = asyncio.create_task(server.serve())
        try:
            await server.wait_started()
        except OSError as error:
            await asyncio.gather(serving, return_exceptions=True)
            raise PreconditionFailed(self._explain(error)) from None
        self._server, self._serving = server, serving
        return server.addresses[0]

    async def stop(self) -> None:
        """Finish the requests that are being answered, and close."""
        if self._server is None or self._serving is None:
            return
        self._server.shutdown()
        serving, self._server, self._serving = self._serving, None, None
        await serving

    def _explain(self, error: OSError) -> str:
        # h2corn wraps what the system said in a text of its own.
        if isinstance(error.__cause__, OSError):
            error = error.__cause__
        if error.errno == errno.EADDRINUSE:
            return (
                f"port {self._port} on {self._host} is taken by another process; stop it, choose "
                "another with --metrics-port (0 picks a free one), or give --no-metrics"
            )
        why = error.strerror or str(error)
        return f"cannot listen for HTTP on {self._host}:{self._port}: {why}"


def _silence_banner() -> None:
    # h2corn 2.0 prints where it listens whatever its configuration says, and our
    # stderr carries one event a line and tells the addresses itself.
    from h2corn import _lib

    if hasattr(_lib, "emit_banner"):
        _lib.emit_banner = _say_nothing


def _say_nothing(config: object, tls: object) -> None:
    pass
