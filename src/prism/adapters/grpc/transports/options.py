"""Options of every transport, and checks of addresses."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Protocol

from prism.adapters.grpc.transports.tls import ServerTls
from prism.domain.addresses import is_loopback
from prism.ports import PreconditionFailed

TAKEN = "stop it, or choose another with --grpc-port (0 picks a free one)"


class ListenerObserver(Protocol):
    """Follows the state of a listening socket."""

    def listener_lost(self, reason: str) -> None:
        """New connections wait; the transport tries to accept again."""
        ...

    def listener_restored(self) -> None:
        """Connections are accepted again."""
        ...

    def listener_gone(self, reason: str) -> None:
        """The transport has given up: the process cannot serve any more."""
        ...


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where and how to serve.

    Attributes:
        port: TCP port; 0: a free one.
        socket: path of a Unix socket that replaces host and port.
        max_message_bytes: maximum size of one request, and of one reply.
        default_timeout: timeout of calls that come without a deadline.
        reflection: whether clients may ask for a description of the API.
        admin_token: token that lifecycle calls must send; None: no token is set.
        grace: time for the last answers when the server stops.
        max_connections: connections at once, further ones are refused; None: half of the
            descriptors that are free at the start.
        max_streams: calls and streams at once on one connection.
        idle_timeout: time without any call after which a connection is closed.
        stall_timeout: time that a caller may take to read a reply.
    """

    host: str = "127.0.0.1"
    port: int = 9090
    socket: Path | None = None
    tls: ServerTls | None = None
    max_message_bytes: int = 4 << 20
    default_timeout: timedelta = timedelta(seconds=30)
    reflection: bool = True
    admin_token: str | None = None
    grace: timedelta = timedelta(seconds=2)
    max_connections: int | None = None
    max_streams: int = 1024
    idle_timeout: timedelta = timedelta(seconds=60)
    stall_timeout: timedelta = timedelta(seconds=20)

    @property
    def is_remote(self) -> bool:
        """Whether other machines can connect."""
        return self.socket is None and not is_loopback(self.host)

    @property
    def tcp_target(self) -> str:
        """`host:port`, with an IPv6 host in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def check_tcp_free(host: str, port: int) -> None:
    """Raise PreconditionFailed if the port cannot be listened on."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PreconditionFailed(
                f"port {port} on {host} is taken by another process; {TAKEN}"
            ) from None
        raise PreconditionFailed(f"cannot listen on {host}:{port}: {error.strerror}") from None
