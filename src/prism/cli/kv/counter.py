"""`prism kv incr`."""

from __future__ import annotations

from typing import Annotated

import typer

from prism.cli.arguments import AsJson, Key
from prism.cli.connection import Connection, connected_to_keys
from prism.cli.output import version_field, write_json, write_line
from prism.ports import INT64_MAX, INT64_MIN


@connected_to_keys
def incr(
    connection: Connection,
    key: Key,
    by: Annotated[
        int, typer.Option(metavar="N", min=INT64_MIN, max=INT64_MAX, help="Add this number.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Add to the number under a key, and print the sum; an absent key counts as 0."""
    count = connection.run(lambda client: client.increment(key, by), writes=True)
    if as_json:
        write_json(key=key, value=count.value, version=version_field(count.version))
    else:
        write_line(str(count.value))
