"""The commands of `prism`; each is imported when it is looked up.

The modules of commands import nothing heavy: grpc, rich and the container are imported by the
command that needs them, when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from typer.main import get_group

from prism.cli.errors import PrismGroup

if TYPE_CHECKING:
    from typer._click import Command


def _serve() -> Command:
    from prism.cli.serve import SERVE

    return SERVE


def _proxy() -> Command:
    from prism.cli.serve import PROXY_COMMAND

    return PROXY_COMMAND


def _config() -> Command:
    from prism.cli.config import GROUP

    return GROUP


def _drivers() -> Command:
    from prism.cli import drivers

    return _command(drivers.add_to)


def _kv() -> Command:
    from prism.cli import kv

    return _group(kv.app)


def _lifecycle() -> Command:
    from prism.cli import lifecycle

    return _group(lifecycle.app)


def _patterns() -> Command:
    from prism.cli import patterns

    return _group(patterns.app)


def _health() -> Command:
    from prism.cli import lifecycle

    return _command(lifecycle.add_health_to)


def _bench() -> Command:
    from prism.cli.bench import command

    return _command(command.add_to)


_COMMANDS: Mapping[str, Callable[[], Command]] = {
    # On the server's side.
    "serve": _serve,
    "proxy": _proxy,
    "config": _config,
    "drivers": _drivers,
    # On the client's side.
    "kv": _kv,
    "lifecycle": _lifecycle,
    "patterns": _patterns,
    "health": _health,
    "bench": _bench,
}


def _group(app: typer.Typer) -> Command:
    return get_group(app)


def _command(add_to: Callable[[typer.Typer], None]) -> Command:
    app = typer.Typer(rich_markup_mode=None)
    app.callback()(lambda: None)
    add_to(app)
    (command,) = get_group(app).commands.values()
    return command


class _LazyCommands(Mapping[str, "Command"]):
    """Commands by name, each imported when it is looked up."""

    def __getitem__(self, name: str) -> Command:
        command = _COMMANDS[name]()
        command.name = name
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


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
