"""HTTP server for an ASGI application: h2corn, embedded in the running event loop."""

from __future__ import annotations

import asyncio
import errno
from typing import TYPE_CHECKING, Any

from prism.ports import PreconditionFailed

if TYPE_CHECKING:
    import h2corn


class AsgiServer:
    """Server for one application; opens nothing before `start`.

    Args:
        app: ASGI application.
        bind: `host:port`, with an IPv6 host in brackets, or `unix:PATH`.
        remedy: advice for the error when the port is taken.
        config: further options of `h2corn.Config`.
    """

    def __init__(self, app: Any, *, bind: str, remedy: str, **config: Any) -> None:
        self._app = app
        self._bind = bind
        self._remedy = remedy
        self._config = config
        self._server: h2corn.Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> str:
        """Listen and serve.

        Returns:
            The address to connect to: `bind`, with the actual port.

        Raises:
            PreconditionFailed: the address is taken, or cannot be listened on.
        """
        import h2corn

        _silence_banner()
        config = h2corn.Config(
            bind=(self._bind,),
            access_log=False,
            lifespan="off",
            # Its log lines share stderr with ours.
            log_format="json",
            runtime_threads=1,
            **self._config,
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
        """Finish requests in flight, within the configured grace period, and close."""
        if self._server is None or self._serving is None:
            return
        self._server.shutdown()
        serving, self._server, self._serving = self._serving, None, None
        await serving

    def _explain(self, error: OSError) -> str:
        # h2corn wraps the system's error in one of its own.
        if isinstance(error.__cause__, OSError):
            error = error.__cause__
        if error.errno == errno.EADDRINUSE:
            host, _, port = self._bind.rpartition(":")
            return f"port {port} on {host.strip('[]')} is taken by another process; {self._remedy}"
        return f"cannot listen on {self._bind}: {error.strerror or error}"


def _silence_banner() -> None:
    # h2corn 2.0 always prints its addresses to stderr, which carries log lines only.
    from h2corn import _lib

    if hasattr(_lib, "emit_banner"):
        _lib.emit_banner = _print_nothing


def _print_nothing(config: object, tls: object) -> None:
    pass
