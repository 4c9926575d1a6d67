"""`prism kv`: the client on the command line."""

from __future__ import annotations

import typer

from prism.cli.kv import counter, dump, expiry, load, scan, values, watch

app = typer.Typer(
    help="Read and write keys, one or a million.", no_args_is_help=True, rich_markup_mode=None
)

for names, command in (
    (["set", "put"], values.set_value),
    (["get"], values.get),
    (["delete", "del"], values.delete),
    (["exists"], values.exists),
    (["ttl"], expiry.ttl),
    (["expire"], expiry.expire),
    (["persist"], expiry.persist),
    (["incr"], counter.incr),
    (["scan"], scan.scan),
    (["watch"], watch.watch),
    (["load"], load.load),
    (["dump"], dump.dump),
):
    for alias, name in enumerate(names):
        app.command(name, hidden=alias > 0)(command)
