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
    status = asyncio.run(_serving_status(connection))
    if as_json:
        write_json(status=status)
    else:
        write_line(status)
    if status != "SERVING":
        raise typer.Exit(Status.FAILURE)


async def _serving_status(connection: Connection) -> str:
    from prism import connect_admin

    async with connect_admin(
        connection.address, timeout=connection.timeout, tls=connection.security
    ) as admin:
        return await admin.serving_status()
