"""`prism health`: a check for containers and scripts."""

from __future__ import annotations

import asyncio

import typer

from prism.cli.arguments import AsJson
from prism.cli.connection import Connection, connected
from prism.cli.errors import Status
from prism.cli.output import write_json, write_line


@connected
def health(connection: Connection, as_json: AsJson = False) -> None:
    """Ask the server whether it serves: exit status 0 if so, 1 if not."""
    from prism.adapters.remote import check_health

    status = asyncio.run(
        check_health(connection.address, timeout=connection.timeout, tls=connection.security)
    )
    if as_json:
        write_json(status=status)
    else:
        write_line(status)
    if status != "SERVING":
        raise typer.Exit(Status.FAILURE)
