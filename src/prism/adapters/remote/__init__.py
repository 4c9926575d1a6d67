"""The gRPC client as an implementation of the ports, and the driver made of it."""

from prism.adapters.remote.client import Client, check_health, connect, connect_lifecycle
from prism.adapters.remote.driver import DRIVER, Remote, RemoteSettings, open_pattern
from prism.adapters.remote.tls import TLS

__all__ = [
    "DRIVER",
    "TLS",
    "Client",
    "Remote",
    "RemoteSettings",
    "check_health",
    "connect",
    "connect_lifecycle",
    "open_pattern",
]
