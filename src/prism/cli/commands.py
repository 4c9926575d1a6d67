"""Every command of `prism` in one Typer application; a module each.

A command is imported when it is asked for: who reads one key waits for nothing else. And
modules here import nothing heavy: grpc, rich and the container are loaded by the command
that needs them, when it runs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import Annotated, Any, cast

import typer
from typer.main import get_group

from prism.cli.errors import ErrorsAsStatus


def _serve(app: typer.Typer) -> None:
    from prism.cli import configured, serve

    configured.add(app, "serve", serve.serve, prepare=serve.watch_proxy)


def _proxy(app: typer.Typer) -> None:
    from prism.cli import configured, proxy

    configured.add(app, "proxy", proxy.proxy, choose=proxy.choose, resolve=proxy.resolve)


def _config(app: typer.Typer) -> None:
    from prism.cli import config

    app.add_typer(config.app, name="config")


def _drivers(app: typer.Typer) -> None:
    from prism.cli import drivers

    app.command("drivers")(drivers.drivers)


def _kv(app: typer.Typer) -> None:
    from prism.cli import kv

    app.add_typer(kv.app, name="kv")


def _lifecycle(app: typer.Typer) -> None:
    from prism.cli import lifecycle

    app.add_typer(lifecycle.app, name="lifecycle")


def _patterns(app: typer.Typer) -> None:
    from prism.cli import patterns

    app.add_typer(patterns.app, name="patterns")


def _health(app: typer.Typer) -> None:
    from prism.cli import health

    app.command("health")(health.health)


def _bench(app: typer.Typer) -> None:
    from prism.cli.bench import command

    app.command("bench")(command.bench)


_ADD: Mapping[str, Callable[[typer.Typer], None]] = {
    # The server's side.
    "serve": _serve,
    "proxy": _proxy,
    "config": _config,
    "drivers": _drivers,
    # The client's side.
    "kv": _kv,
    "lifecycle": _lifecycle,
    "patterns": _patterns,
    "health": _health,
    "bench": _bench,
}


class _Commands(Mapping[str, Any]):
    """Commands by name, each made when it is looked up."""

    def __getitem__(self, name: str) -> Any:
        alone = typer.Typer(rich_markup_mode=None)
        alone.callback()(lambda: None)
        _ADD[name](alone)
        return get_group(alone).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_ADD)

    def __len__(self) -> int:
        return len(_ADD)


class _Prism(ErrorsAsStatus):
    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        # Nobody changes it.
        self.commands = cast("MutableMapping[str, Any]", _Commands())


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
