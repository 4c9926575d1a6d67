"""The console script `prism`; its commands are assembled in `prism.cli.commands`."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prism.cli.commands import app

__all__ = ["app", "main"]

# Else the core of gRPC writes to stderr, in a form of its own, what its callers learn by
# statuses. It reads this when it is imported, which nothing has done before this module.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> None:
    """Run the command line and exit with its status."""
    # Imported here, so that Ctrl-C meets no stack trace from the first moment on.
    try:
        from prism.cli.commands import app

        app(prog_name="prism")
    except KeyboardInterrupt:
        sys.exit(130)


def __getattr__(name: str) -> Any:
    if name == "app":
        from prism.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
