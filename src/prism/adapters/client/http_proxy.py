"""HTTP proxies that environment variables name, which gRPC would use for every connection."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence

DIRECT = ("grpc.enable_http_proxy", 0)
"""Channel option: connect without a proxy."""

# In the order in which gRPC reads them.
_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")


def proxy_options(address: str) -> Sequence[tuple[str, int]]:
    """Return the channel options for an address: loopback and Unix sockets need no proxy.

    Args:
        address: `host:port` or `unix:PATH`.
    """
    return [DIRECT] if is_local(address) else []


def proxy_variable(address: str) -> str:
    """Return the variable that names the proxy through which the address is called, or empty."""
    if is_local(address):
        return ""
    return next((name for name in _VARIABLES if os.environ.get(name)), "")


def is_local(address: str) -> bool:
    """Return whether the address is a Unix socket, or on loopback."""
    if address.startswith("unix:"):
        return True
    host = address.rpartition(":")[0].strip("[]")
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
