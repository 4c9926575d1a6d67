"""The commands of `prism`; each is imported when it is looked up.

The modules of commands import nothing heavy: grpc, rich and the container are imported by the
command that needs them, when it runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from prism.cli.errors import PrismGroup
from prism.version import VERSION

if TYPE_CHECKING:
    from typer._click import Command


_MODULES = {
    # On the server's side.
    "serve": "serve",
    "proxy": "serve",
    "config": "config",
    "drivers": "drivers",
    "policy": "policy",
    "backup": "backup",
    "restore": "backup",
    # On the client's side.
    "kv": "kv",
    "lifecycle": "lifecycle",
    "patterns": "patterns",
    "health": "lifecycle",
    "bench": "bench.command",
}
"""Module of each command; its `COMMANDS` has the command under the same name."""


class _LazyCommands(Mapping[str, "Command"]):
    """Commands by name, each imported when it is looked up."""

    def __getitem__(self, name: str) -> Command:
        commands: Mapping[str, Command] = import_module(f"prism.cli.{_MODULES[name]}").COMMANDS
        return commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_MODULES)

    def __len__(self) -> int:
        return len(_MODULES)


class _Prism(PrismGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        # TyperGroup only reads the mapping.
        self.commands = cast("MutableMapping[str, Command]", _LazyCommands())


app = typer.Typer(
    name="prism",
    cls=_Prism,
    help="One key-value interface in front of any backend.",
    no_args_is_help=True,
    # Plain text: an error stays one line, also in a log or a pipe.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        # A fiftieth of a second, which other commands save.
        typer.echo(f"prism {VERSION}")
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
