"""One key-value interface in front of any backend.

`prism.connect` is for applications, `prism.ports` and `prism.serve_driver` for authors
of drivers, and `prism.testing` for whoever wants to know that a driver keeps its promises.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prism.adapters.remote import TLS, Client, connect
    from prism.cli.serve_driver import serve_driver

__all__ = ["TLS", "Client", "connect", "serve_driver"]


def __getattr__(name: str) -> Any:
    # Lazily, so that whoever imports prism.ports does not load grpc.
    if name == "serve_driver":
        from prism.cli.serve_driver import serve_driver

        return serve_driver
    if name in __all__:
        from prism.adapters import remote

        return getattr(remote, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
