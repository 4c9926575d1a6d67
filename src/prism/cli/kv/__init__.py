"""`prism kv`: read and write keys."""

from __future__ import annotations

import typer

from prism.cli.kv import dump, keys, load, scan

app = typer.Typer(
    help="Read and write keys, one or a million.", no_args_is_help=True, rich_markup_mode=None
)

for module in (keys, scan, load, dump):
    module.add_to(app)
