"""The servicers on h2corn, an HTTP/2 server in Rust: the default transport.

h2corn's accept loop ends on any error, such as a lack of descriptors, and its sockets have
no keepalive. So the listening socket is made here, outlives the loop, and is served again.

https://h2corn.monicz.dev/grpc/
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from prism.adapters.certificates import in_memory
from prism.adapters.grpc.services import Served
from prism.adapters.grpc.transports.asgi import GrpcOverAsgi
from prism.adapters.grpc.transports.connections import ConnectionGuard, connections_at, place_of
from prism.adapters.grpc.transports.options import TAKEN, ListenerObserver, ServerOptions
from prism.adapters.grpc.transports.peer_limits import PeerLimits
from prism.adapters.grpc.transports.retirement import Retirement, descriptors_of
from prism.adapters.grpc.transports.tls import ServerTls, TlsMaterial
from prism.adapters.sockets import default_max_connections, listen_tcp, listen_unix
from prism.domain.connection_budget import UnreadReplies
from prism.domain.turns import Turns
from prism.ports import InvalidArgument

if TYPE_CHECKING:
    import h2corn

log = logging.getLogger(__name__)

_PAUSES_S = (0.1, 0.5, 1.0, 2.0, 3.0, 3.0, 3.0)
"""Pauses before the attempts to serve again; after the last one the listener is given up."""

# Bytes that a caller has sent and no call has read wait in the memory of the server.
_STREAM_WINDOW_BYTES, _CONNECTION_WINDOW_BYTES = 1 << 20, 8 << 20

_MAX_HEADER_BYTES = 32 << 10

# h2corn has an allocator of its own, which by default keeps memory that it does not need any more.
# These variables are read when the library is loaded.
_ALLOCATOR = {"MIMALLOC_PURGE_DELAY": "0", "MIMALLOC_ARENA_EAGER_COMMIT": "0"}

_UNBOUNDED = timedelta(days=365)

_STABLE_S = 30.0
"""After this time of serving, the pauses begin from the first."""


class H2cornServer:
    """Server on h2corn; opens nothing before `start`.

    Args:
        unread: replies that callers have not read.
        turns: turns of the event loop, in which work begins.

    Attributes:
        addresses: addresses that it listens on; empty before `start`.
    """

    def __init__(
        self, services: Served, options: ServerOptions, unread: UnreadReplies, turns: Turns
    ) -> None:
        self.addresses: tuple[str, ...] = ()
        self._limits = PeerLimits(unread, turns, options.stall_timeout)
        self._app = GrpcOverAsgi(
            services.calls, max_message_bytes=options.max_message_bytes, limits=self._limits
        )
        self._options = options
        self._max_connections = options.max_connections or default_max_connections()
        self._observer: ListenerObserver | None = None
        self._listener: socket.socket | None = None
        self._guard: ConnectionGuard | None = None
        self._server: h2corn.Server | None = None
        self._serving: asyncio.Task[None] | None = None
        self._listening: Iterable[int] = ()
        self._material: TlsMaterial | None = None
        self._supervising: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._retirements: dict[asyncio.Task[None], Retirement] = {}

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return connections_at(self.addresses, self._max_connections)

    @property
    def refused_connections(self) -> int:
        """Connections that were refused for the bound."""
        return 0 if self._guard is None else self._guard.refused

    @property
    def stalled_calls(self) -> int:
        """Calls that ended because their caller did not read the reply."""
        return self._limits.stalled

    def observe(self, observer: ListenerObserver) -> None:
        """Report the state of the listener to this observer."""
        self._observer = observer

    async def start(self) -> tuple[str, ...]:
        """Listen and serve.

        Returns:
            The addresses to connect to: `host:port`, or `unix:PATH`.

        Raises:
            PreconditionFailed: the port or socket is taken.
            InvalidArgument: a TLS file cannot be used.
        """
        options = self._options
        if options.tls is not None:
            self._material = options.tls.load()
        if options.socket is not None:
            self._listener = listen_unix(options.socket)
            self.addresses = (f"unix:{options.socket}",)
        else:
            self._listener = listen_tcp(options.host, options.port, remedy=TAKEN)
            host = options.tcp_target.rpartition(":")[0]
            self.addresses = (f"{host}:{self._listener.getsockname()[1]}",)
        await self._serve()
        self._guard = ConnectionGuard(self._listener, self._max_connections)
        self._tasks = [asyncio.create_task(self._guard.run())]
        self._supervising = asyncio.create_task(self._supervise())
        return self.addresses

    async def reload_tls(self, tls: ServerTls) -> bool:
        """Serve new connections with the present content of the files.

        Another server takes over the listening socket; the calls of the old one go on.

        Returns:
            Whether the content has changed.

        Raises:
            InvalidArgument: a file cannot be used; the content loaded before stays in use.
        """
        material = tls.load()
        if material == self._material or self._listener is None:
            return False
        before, self._material = self._material, material
        old, serving, listening = self._server, self._serving, self._listening
        if old is None or serving is None or serving.done():
            # It is being started again, with these.
            return True
        try:
            await self._serve()
        except (OSError, InvalidArgument) as error:
            self._material = before
            raise InvalidArgument(str(error)) from None
        if self._supervising is not None:
            self._supervising.cancel()
        self._supervising = asyncio.create_task(self._supervise())
        retirement = Retirement(old, serving, listening, place_of(self._listener))
        retirement.stop_accepting()
        task = asyncio.create_task(retirement.run())
        self._retirements[task] = retirement
        task.add_done_callback(lambda done: self._retirements.pop(done, None))
        return True

    async def stop(self) -> None:
        """Refuse new connections, give the last replies their grace, and close."""
        tasks = [*self._tasks, *filter(None, [self._supervising]), *self._retirements]
        retired = [*self._retirements.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks, self._supervising = [], None
        if self._server is not None and self._serving is not None and self._listener:
            current = Retirement(
                self._server, self._serving, self._listening, place_of(self._listener)
            )
            await current.end(self._options.grace)
            self._server = self._serving = None
        for retirement in retired:
            await retirement.end(timedelta())
        if self._listener is not None:
            self._listener.close()
            self._listener = None
            if self._options.socket is not None:
                self._options.socket.unlink(missing_ok=True)

    async def _serve(self) -> None:
        """Begin to accept from the listener.

        Raises:
            OSError: the listener cannot be used.
            InvalidArgument: h2corn does not support the certificates or the key.
        """
        for name, value in _ALLOCATOR.items():
            os.environ.setdefault(name, value)
        import h2corn

        _silence_banner()
        assert self._listener is not None
        options, tls = self._options, self._material
        known = descriptors_of(self._listener)
        # A server whose certificates are replaced finishes its calls, however long they take.
        grace = options.grace if tls is None else _UNBOUNDED
        with (
            in_memory(None if tls is None else tls.certificate) as certificate,
            in_memory(None if tls is None else tls.key) as key,
            in_memory(None if tls is None else tls.client_ca) as client_ca,
        ):
            config = h2corn.Config(
                bind=(f"fd://{self._listener.fileno()}",),
                access_log=False,
                lifespan="off",
                log_format="json",
                runtime_threads=1,
                grpc=True,
                http1=False,
                limit_connections=self._max_connections,
                max_concurrent_streams=options.max_streams,
                timeout_keep_alive=options.idle_timeout.total_seconds(),
                h2_timeout_response_stall=options.stall_timeout.total_seconds(),
                h2_initial_stream_window_size=_STREAM_WINDOW_BYTES,
                h2_initial_connection_window_size=_CONNECTION_WINDOW_BYTES,
                h2_max_header_list_size=_MAX_HEADER_BYTES,
                h2_max_header_block_size=_MAX_HEADER_BYTES,
                timeout_graceful_shutdown=grace.total_seconds(),
                certfile=certificate,
                keyfile=key,
                ca_certs=client_ca,
                cert_reqs="none" if client_ca is None else "required",
            )
            server = h2corn.Server(cast("Any", self._app), config)
            serving = asyncio.create_task(server.serve())
            try:
                await server.wait_started()
            except OSError:
                await asyncio.gather(serving, return_exceptions=True)
                raise
            except ValueError as error:
                await asyncio.gather(serving, return_exceptions=True)
                raise InvalidArgument(
                    f"h2corn cannot use the TLS files: {error}; use others, or --transport grpcio"
                ) from None
        self._server, self._serving = server, serving
        self._listening = descriptors_of(self._listener) - known

    async def _supervise(self) -> None:
        """Serve again whenever the accept loop ends."""
        loop = asyncio.get_running_loop()
        pauses_s = iter(_PAUSES_S)
        while self._serving is not None:
            since = loop.time()
            await asyncio.wait([self._serving])
            if loop.time() - since > _STABLE_S:
                pauses_s = iter(_PAUSES_S)
            reason = _reason_of(self._serving)
            log.error("the gRPC listener ended: %s; it is started again", reason)
            if self._observer is not None:
                self._observer.listener_lost(reason)
            restored = await self._serve_again(pauses_s)
            if self._observer is not None:
                if not restored:
                    self._observer.listener_gone(reason)
                    return
                self._observer.listener_restored()
            log.info("the gRPC listener serves again")

    async def _serve_again(self, pauses_s: Iterator[float]) -> bool:
        for pause_s in pauses_s:
            await asyncio.sleep(pause_s)
            try:
                await self._serve()
            except OSError as error:
                log.warning("the gRPC listener cannot be started: %s", error)
            else:
                return True
        return False


def _reason_of(ended: asyncio.Task[None]) -> str:
    error = None if ended.cancelled() else ended.exception()
    return "no reason given" if error is None else f"{type(error).__name__}: {error}"


def _silence_banner() -> None:
    # h2corn 2.0 prints the addresses in every configuration; ours are logged.
    from h2corn import _lib

    if hasattr(_lib, "emit_banner"):
        _lib.emit_banner = _print_nothing


def _print_nothing(config: object, tls: object) -> None:
    pass
