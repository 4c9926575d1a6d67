"""Addresses of servers as people give them: one, or several with commas between them."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

from prism.adapters.client.connection_errors import reason_of
from prism.adapters.client.endpoint import Endpoint
from prism.ports import BackendUnavailable, InvalidArgument, Outcome


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
            raise InvalidArgument(f"the addresses {text!r} have a comma with nothing beside it")
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
