"""Public client of a Prism server: `prism.connect` and what it gives."""

from prism.adapters.client.blocking import BlockingClient, connect_sync
from prism.adapters.client.channel import TLS, Channel
from prism.adapters.client.connection import AdminClient, Client, connect, connect_admin
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.lifecycle import LifecycleClient

__all__ = [
    "TLS",
    "AdminClient",
    "BlockingClient",
    "Channel",
    "Client",
    "KeyValueClient",
    "LifecycleClient",
    "connect",
    "connect_admin",
    "connect_sync",
]
