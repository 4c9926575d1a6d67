"""Addresses of servers: as people give them, and how a connection to one is made."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Self

from prism.adapters.client.connection_errors import reason_of
from prism.adapters.client.http2 import Http2Connection, Pings
from prism.adapters.client.http2_stream import StreamLost
from prism.kit import is_host
from prism.ports import BackendUnavailable, InvalidArgument, Outcome

CONNECT_S = 3.0
"""Longest duration of one attempt to connect."""

_NEXT_ADDRESS_S = 0.5
"""Time for one of several addresses of a host to accept."""

_TLS_SHUTDOWN_S = 0.5


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server listens.

    Attributes:
        host: name or address; empty: a Unix socket.
        port: TCP port.
        path: path of the Unix socket; empty: TCP.
        ip: the one of the host's addresses to connect to; empty: the first that accepts.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    ip: str = ""

    @classmethod
    def of(cls, address: str) -> Self:
        """Return the endpoint of `host:port` or `unix:PATH`; raises InvalidArgument."""
        if address.startswith("unix:"):
            path = address.removeprefix("unix:")
            if not path:
                raise InvalidArgument("the address 'unix:' names no socket; give unix:PATH")
            return cls(path=path)
        host, _, port = address.rpartition(":")
        if not is_host(host) or not (port.isascii() and port.isdigit()) or int(port) > 65_535:
            raise InvalidArgument(f"the address {address!r} is neither host:port nor unix:PATH")
        return cls(host=host.strip("[]"), port=int(port))

    @property
    def authority(self) -> bytes:
        """Value of `:authority` in requests."""
        if self.path:
            return b"localhost"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}".encode("idna" if not host.isascii() else "ascii")

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}" + (f" ({self.ip})" if self.ip else "")

    async def connect(
        self,
        context: ssl.SSLContext | None,
        pings: Pings | None = None,
        on_lost: Callable[[str], None] | None = None,
    ) -> Http2Connection:
        """Return a connection whose server has answered as HTTP/2.

        Args:
            context: TLS; None: plain text.
            pings: how silence is noticed later; None: it is not.
            on_lost: called when the connection has ended, with the reason.

        Raises:
            StreamLost: there is no such connection within `CONNECT_S`.
        """
        connection = Http2Connection(pings, on_lost)
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._open(connection, context)
                await connection.ready
        except (OSError, ValueError, ExceptionGroup) as error:
            await connection.close()
            raise StreamLost(reason_of(error), unseen=True) from None
        except BaseException:
            await connection.close()
            raise
        return connection

    async def _open(self, connection: Http2Connection, context: ssl.SSLContext | None) -> None:
        loop = asyncio.get_running_loop()
        host = (self.host or "localhost") if context is not None else None
        connected = await self._connected_socket()
        try:
            await loop.create_connection(
                lambda: connection,
                sock=connected,
                ssl=context,
                server_hostname=host,
                ssl_shutdown_timeout=None if context is None else _TLS_SHUTDOWN_S,
            )
        except BaseException:
            # Whether a transport has taken it before it failed, or not.
            connected.close()
            raise

    async def _connected_socket(self) -> socket.socket:
        """Return a socket that is connected to the first address that accepts."""
        if self.path:
            return await _connected(socket.AF_UNIX, self.path)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(self.ip or self.host, self.port, type=socket.SOCK_STREAM)
        # asyncio can race them, and loses a socket if it is cancelled in the wrong moment.
        for family, _, _, _, address in found[:-1]:
            with suppress(OSError):
                async with asyncio.timeout(_NEXT_ADDRESS_S):
                    return await _connected(family, address)
        family, _, _, _, address = found[-1]
        return await _connected(family, address)


async def _connected(family: int, address: str | tuple[object, ...]) -> socket.socket:
    connected = socket.socket(family, socket.SOCK_STREAM)
    try:
        connected.setblocking(False)
        if family != socket.AF_UNIX:
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connected, address)
    except BaseException:
        connected.close()
        raise
    return connected


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the servers of one client listen.

    Attributes:
        text: the addresses as they were given.
        endpoints: each of them once, in their order; a name may stand for several addresses.
    """

    text: str
    endpoints: tuple[Endpoint, ...]

    @classmethod
    def of(cls, text: str) -> Self:
        """Return the addresses in a text such as `a:9090,b:9090`.

        Raises:
            InvalidArgument: one of them is neither `host:port` nor `unix:PATH`.
        """
        parts = [part.strip() for part in text.split(",")]
        if len(parts) > 1 and not all(parts):
            raise InvalidArgument(f"the addresses {text!r} have an empty one: remove a comma")
        return cls(text, tuple(dict.fromkeys(map(Endpoint.of, parts))))

    @property
    def may_be_several(self) -> bool:
        """Whether there can be more than one server."""
        return len(self.endpoints) > 1 or self.have_names

    @property
    def have_names(self) -> bool:
        """Whether one of them is a name, whose addresses can change."""
        return any(map(_is_name, self.endpoints))

    async def look_up(self) -> list[Endpoint]:
        """Return every address at present, each name replaced by its addresses.

        Raises:
            BackendUnavailable: no name has an address, and nothing else was given.
        """
        found: dict[Endpoint, None] = {}
        failures: list[OSError] = []
        groups = await asyncio.gather(*map(_look_up, self.endpoints))
        for group in groups:
            if isinstance(group, OSError):
                failures.append(group)
            else:
                found.update(dict.fromkeys(group))
        if not found:
            raise BackendUnavailable(
                f"no Prism server answers at {self.text} ({reason_of(failures[0])})",
                outcome=Outcome.NOT_APPLIED,
            )
        return list(found)


def _is_name(endpoint: Endpoint) -> bool:
    if endpoint.path or endpoint.host == "localhost":
        # The addresses of localhost are those of one server.
        return False
    try:
        ipaddress.ip_address(endpoint.host.partition("%")[0])
    except ValueError:
        return True
    return False


async def _look_up(endpoint: Endpoint) -> Sequence[Endpoint] | OSError:
    if not _is_name(endpoint):
        return (endpoint,)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(endpoint.host, endpoint.port, type=socket.SOCK_STREAM)
    except OSError as error:
        return error
    except UnicodeError:
        return OSError("there is no host of this name")
    return [replace(endpoint, ip=str(address[0])) for _, _, _, _, address in found]
