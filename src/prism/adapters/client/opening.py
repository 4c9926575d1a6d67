"""The server, or the servers, at an address."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from prism.adapters.client.addresses import Addresses
from prism.adapters.client.channel import Channel
from prism.adapters.client.endpoint import Endpoint
from prism.adapters.client.server import Server
from prism.adapters.client.servers import Servers


def open_server(address: str, *, timeout: timedelta, **options: Any) -> Server | Servers:
    """Return the server at an address, or the servers; the first call connects.

    Args:
        options: arguments of `Channel`.

    Raises:
        InvalidArgument: an address has neither form, or a TLS file cannot be used.
    """
    addresses = Addresses.of(address)
    if not addresses.may_be_several:
        # The text may name this one address twice.
        (endpoint,) = addresses.endpoints
        return Server(Channel(address, timeout=timeout, endpoint=endpoint, **options))

    def open_channel(endpoint: Endpoint, on_lost: Callable[[str], None]) -> Channel:
        return Channel(
            str(endpoint), timeout=timeout, endpoint=endpoint, on_lost=on_lost, **options
        )

    # A mistake in the options is an error now, and not at the first call.
    open_channel(addresses.endpoints[0], lambda _: None)
    return Servers(addresses, open_channel, timeout.total_seconds())
