"""One key-value interface in front of any backend.

`prism.connect` and `prism.connect_sync` are for applications, `prism.ports` and
`prism.serve_driver` for authors of drivers, and `prism.testing` for checking that a driver keeps
its promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prism.adapters.client import (
        TLS,
        AdminClient,
        BlockingClient,
        Client,
        connect,
        connect_admin,
        connect_sync,
    )
    from prism.cli.serve_driver import serve_driver

__all__ = [
    "TLS",
    "AdminClient",
    "BlockingClient",
    "Client",
    "connect",
    "connect_admin",
    "connect_sync",
    "serve_driver",
]


def __getattr__(name: str) -> object:
    # Lazily, so that importing prism.ports does not load grpc.
    if name == "serve_driver":
        from prism.cli.serve_driver import serve_driver

        return serve_driver
    if name in __all__:
        from prism.adapters import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
