"""`prism config show`: what holds, and where each value comes from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Annotated

import typer

from prism.bootstrap.cli import configured
from prism.bootstrap.cli.errors import tell
from prism.bootstrap.cli.output import write_json, write_line
from prism.bootstrap.configuration import Configuration, Value, near_misses

app = typer.Typer(
    help="See how a server would be configured.", no_args_is_help=True, rich_markup_mode=None
)


@app.callback()
def _config() -> None:
    """Makes `show` a command of its own even while it is the only one."""


def show(
    configuration: Configuration,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print each setting with where it comes from, secrets masked.

    Takes the options that `prism serve` takes.
    """
    for warning in near_misses(os.environ, configuration.options):
        tell(warning)
    if as_json:
        write_json(
            config_file=None if configuration.file is None else str(configuration.file),
            settings=[
                {"name": v.option.path, "value": _shown(v), "origin": v.origin}
                for v in configuration.values
            ],
        )
        return
    rows = [(v.option.path, _shown(v) or "-", v.origin) for v in configuration.values]
    for row in align([("NAME", "VALUE", "FROM"), *rows]):
        write_line(row)


def align(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """The rows as lines, in columns."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _shown(value: Value) -> str | None:
    from prism.adapters.observability.masking import MASK, mask_urls

    if value.text is None:
        return None
    return MASK if value.option.field.secret else mask_urls(value.text)


configured.add(app, "show", show)
