"""`prism config show`: what holds, and where each value comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from prism.bootstrap.configuration import Configuration, ServerConfiguration, near_misses
from prism.cli import configured, proxy
from prism.cli.errors import tell
from prism.cli.output import write_json, write_line
from prism.cli.proxy import ProxyConfiguration

app = typer.Typer(
    help="See how a server would be configured.", no_args_is_help=True, rich_markup_mode=None
)


def show(
    configuration: Configuration,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print each setting with where it comes from, secrets masked.

    Takes the options that `prism serve` takes.
    """
    _show(configuration, as_json=as_json)


def show_proxy(
    configuration: ProxyConfiguration,
    *,
    _pattern: proxy.PatternOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print each setting of a proxy with where it comes from, secrets masked.

    Takes the options that `prism proxy` takes.
    """
    _show(configuration, as_json=as_json)


def _show(configuration: ServerConfiguration, *, as_json: bool) -> None:
    for warning in near_misses(os.environ, configuration.options):
        tell(warning)
    if as_json:
        write_json(
            config_file=None if configuration.file is None else str(configuration.file),
            settings=[
                {"name": v.option.path, "value": v.shown, "origin": v.origin}
                for v in configuration.values
            ],
        )
        return
    rows = [(v.option.path, v.shown or "-", v.origin) for v in configuration.values]
    for row in align([("NAME", "VALUE", "FROM"), *rows]):
        write_line(row)


def align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows as lines, in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


configured.add(app, "show", show)
configured.add(app, "show-proxy", show_proxy, choose=proxy.choose, resolve=proxy.resolve)
