"""Listening socket of the port: accepts connections, up to a bound, and speaks TLS."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import count
from pathlib import Path
from time import perf_counter_ns
from typing import Protocol

from prism.adapters.resp import replies
from prism.adapters.resp.door import Door
from prism.adapters.resp.peer import Peer
from prism.adapters.sockets import default_max_connections, listen_tcp, listen_unix
from prism.kit import load_authorities, load_certificate

log = logging.getLogger(__name__)

TAKEN = "stop it, or choose another with --resp-port (0 picks a free one)"

_HANDSHAKE_S = 10.0
_PAUSE_S = 0.1
_CLOSED_AT_ONCE = 0.01
"""Share of the connections that make room for new ones when the bound is reached."""

_BUSY_NS = 1_000_000_000
"""A connection that was used in this time is not closed to make room."""

_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

_TOO_MANY = replies.error("ERR max number of clients reached")


class TlsFiles(Protocol):
    """Certificate files in PEM; see `prism.adapters.grpc.transports.tls.ServerTls`."""

    @property
    def cert(self) -> Path: ...
    @property
    def key(self) -> Path: ...
    @property
    def client_ca(self) -> Path | None: ...
    @property
    def key_password(self) -> str | None: ...
    @property
    def min_version(self) -> str: ...
    def load(self) -> object: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerOptions:
    """Where to listen.

    Attributes:
        port: TCP port; 0: a free one.
        socket: path of a Unix socket that replaces host and port.
        max_connections: connections at once; None: half of the free descriptors.
        grace: time for the last replies when the server stops.
    """

    host: str = "127.0.0.1"
    port: int = 6379
    socket: Path | None = None
    tls: TlsFiles | None = None
    max_connections: int | None = None
    grace: timedelta = timedelta(seconds=2)


class RespServer:
    """Server of the Redis protocol; opens nothing before `start`.

    When operations are not admitted any more, every connection is closed once what it has sent
    is answered: clients connect again, to another server if there is one.
    """

    def __init__(self, door: Door, options: ListenerOptions) -> None:
        self.address = ""
        self._door = door
        self._options = options
        self._listener: socket.socket | None = None
        self._context: ssl.SSLContext | None = None
        self._material: object = None
        self._accepting: asyncio.Task[None] | None = None
        self._handshakes: set[asyncio.Task[None]] = set()
        self._ids = count(1)

    @property
    def door(self) -> Door:
        """What the connections share."""
        return self._door

    @property
    def connections(self) -> int:
        """Number of open connections."""
        return len(self._door.sessions)

    async def start(self) -> str:
        """Listen and serve; return the address.

        Raises:
            PreconditionFailed: the port or socket is taken.
            InvalidArgument: a TLS file cannot be used.
        """
        options, door = self._options, self._door
        if options.tls is not None:
            self._load_tls(options.tls)
        if options.socket is not None:
            self._listener = listen_unix(options.socket)
            self.address = f"unix:{options.socket}"
        else:
            self._listener = listen_tcp(options.host, options.port, remedy=TAKEN)
            door.port = self._listener.getsockname()[1]
            host = f"[{options.host}]" if ":" in options.host else options.host
            self.address = f"{host}:{door.port}"
        door.max_connections = options.max_connections or default_max_connections()
        door.open()
        door.admission.on_close(self._close_peers)
        self._accepting = asyncio.create_task(self._accept(self._listener))
        return self.address

    async def reload_tls(self, tls: TlsFiles) -> bool:
        """Serve new connections with the present content of the files.

        Returns:
            Whether the content has changed.

        Raises:
            InvalidArgument: a file cannot be used; the content loaded before stays in use.
        """
        return self._listener is not None and self._load_tls(tls)

    async def stop(self) -> None:
        """Refuse new connections, give the last replies their grace, and close."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        tasks = [*filter(None, [self._accepting]), *self._handshakes]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        listener.close()
        if self._options.socket is not None:
            self._options.socket.unlink(missing_ok=True)
        door = self._door
        door.admission.remove_on_close(self._close_peers)
        self._close_peers()
        door.emptied.clear()
        if door.sessions:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._options.grace.total_seconds()):
                    await door.emptied.wait()
        for peer in tuple(door.sessions):
            peer.abort()
        door.close()
        await asyncio.sleep(0)

    def _close_peers(self) -> None:
        for peer in tuple(self._door.sessions):
            peer.close()

    async def _accept(self, listener: socket.socket) -> None:
        loop = self._door.loop
        while True:
            try:
                accepted, _ = await loop.sock_accept(listener)
            except OSError as error:
                log.warning("the Redis port cannot accept a connection: %s", error)
                await asyncio.sleep(_PAUSE_S)
                continue
            if not self._has_room():
                _refuse(accepted)
                self._door.refused += 1
                continue
            accepted.setblocking(False)
            connecting = asyncio.create_task(self._connect(accepted))
            self._handshakes.add(connecting)
            connecting.add_done_callback(self._handshakes.discard)

    async def _connect(self, accepted: socket.socket) -> None:
        door, identity = self._door, next(self._ids)
        if accepted.family == socket.AF_UNIX:
            name = f"unix:{identity}"
        else:
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                host, port = accepted.getpeername()[:2]
            except OSError:
                accepted.close()
                return
            name = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        door.accepted += 1
        peer = Peer(door, identity, name)
        try:
            await door.loop.connect_accepted_socket(
                lambda: peer,
                accepted,
                ssl=self._context,
                ssl_handshake_timeout=None if self._context is None else _HANDSHAKE_S,
            )
        except (OSError, TimeoutError) as error:
            log.debug("the connection from %s failed: %s", name, error)
            accepted.close()
        except asyncio.CancelledError:
            accepted.close()
            raise

    def _has_room(self) -> bool:
        door = self._door
        if len(door.sessions) + len(self._handshakes) < door.max_connections:
            return True
        # Those that have waited longest go, several at once, since to find them costs time.
        now = perf_counter_ns()
        idle = sorted(
            (peer for peer in door.sessions if peer.is_idle and now - peer.active_ns > _BUSY_NS),
            key=lambda peer: peer.active_ns,
        )
        chosen = idle[: max(1, int(door.max_connections * _CLOSED_AT_ONCE))]
        for peer in chosen:
            door.refused += 1
            peer.abort()
        return bool(chosen)

    def _load_tls(self, tls: TlsFiles) -> bool:
        material = tls.load()
        if material == self._material:
            return False
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = _VERSIONS[tls.min_version]
        load_certificate(context, tls.cert, tls.key, tls.key_password)
        if tls.client_ca is not None:
            load_authorities(context, tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
        self._context, self._material = context, material
        return True


def _refuse(accepted: socket.socket) -> None:
    with accepted, suppress(OSError):
        accepted.setblocking(False)
        accepted.send(_TOO_MANY)
        accepted.shutdown(socket.SHUT_WR)
        # Closing with unread bytes would reset the connection and lose the refusal.
        accepted.recv(65536)
