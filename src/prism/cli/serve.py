"""`prism serve`, which is also `python -m prism.bootstrap`."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from prism.bootstrap.configuration import Configuration
from prism.cli.configured import Early


def watch_proxy(early: Early) -> None:
    """A pattern ends with its proxy from here on, also while its driver is loaded and made."""
    descriptor = early.last("--proxy-fd", "PRISM_PROXY_FD")
    if not descriptor or not early.last("--proxy-address", "PRISM_PROXY_ADDRESS"):
        return
    from prism.bootstrap.managed.lifeline import lifeline_at

    # What is wrong with it, the settings report.
    with suppress(ValueError, OverflowError, OSError):
        lifeline_at(int(descriptor)).watch()


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"prism {version('prism')}")
        raise typer.Exit


def serve(
    configuration: Configuration,
    *,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Serve a driver over gRPC, until SIGINT or SIGTERM.

    Each option can also be set in the environment or in a config file:
    `prism config show` tells what holds, and from where.
    """
    from prism.bootstrap.main import run

    raise typer.Exit(run(configuration))
