"""`prism kv`: read and write keys."""

from __future__ import annotations

import typer
from typer.main import get_group

from prism.cli.kv import apply, dump, keys, load, scan

app = typer.Typer(
    name="kv",
    help="Read and write keys, one or a million.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

for module in (keys, apply, scan, load, dump):
    app.add_typer(module.app)

COMMANDS = {"kv": get_group(app)}
