"""Console script `prism`; `prism.cli.commands` has its commands."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from prism.cli.process_start import prepare

if TYPE_CHECKING:
    from prism.cli.commands import app

__all__ = ["app", "main"]

# Otherwise the core of gRPC writes to stderr, in a format of its own, what callers learn from
# statuses. It reads the variable when it is imported, which is after this module.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")


def main() -> None:
    """Run the command line and exit with its status."""
    prepare(sys.argv[1:])
    # Imported here, so that Ctrl-C never shows a stack trace.
    try:
        from prism.cli.commands import app

        app(prog_name="prism")
    except KeyboardInterrupt:
        sys.exit(130)


def __getattr__(name: str) -> object:
    # Lazily, so that importing this package is cheap.
    if name == "app":
        from prism.cli.commands import app

        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
