"""Every command of `prism` in one Typer application; a module each.

Modules here import nothing heavy: grpc, rich and the container are loaded by the
command that needs them, when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from prism.bootstrap.cli import bench, config, configured, drivers, health, kv, lifecycle, serve
from prism.bootstrap.cli.errors import ErrorsAsStatus

app = typer.Typer(
    name="prism",
    cls=ErrorsAsStatus,
    help="One key-value interface in front of any backend.",
    no_args_is_help=True,
    # Plain text: an error stays one line, also in a log or a pipe.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

# The server's side.
configured.add(app, "serve", serve.serve)
app.add_typer(config.app, name="config")
app.command("drivers")(drivers.drivers)

# The client's side.
app.add_typer(kv.app, name="kv")
app.add_typer(lifecycle.app, name="lifecycle")
app.command("health")(health.health)
app.command("bench")(bench.bench)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"prism {version('prism')}")
        raise typer.Exit


@app.callback()
def _prism(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    pass
