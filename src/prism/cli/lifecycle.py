"""`prism lifecycle`: an operator's commands to a running server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from prism.adapters.observability.formatting import escaped
from prism.bootstrap.secret_files import read_secret
from prism.cli.arguments import AsJson, positive_duration
from prism.cli.connection import Connection, connected
from prism.cli.output import write_json, write_line
from prism.ports import DRAIN_TIMEOUT, STOP_TIMEOUT, Health, LifecycleControl, State

Result = TypeVar("Result")

app = typer.Typer(
    help="See what a server is at, drain it, stop it.", no_args_is_help=True, rich_markup_mode=None
)

AdminTokenFile = Annotated[
    Path | None,
    typer.Option(
        envvar="PRISM_ADMIN_TOKEN_FILE",
        metavar="FILE",
        help="Holds the token that a server beyond loopback wants.",
    ),
]


def _timeout(help: str, default: str) -> object:
    return typer.Option(
        "--timeout", metavar="DURATION", parser=positive_duration, show_default=default, help=help
    )


@app.command()
@connected
def status(
    connection: Connection, admin_token_file: AdminTokenFile = None, as_json: AsJson = False
) -> None:
    """Show the state of the server and the health of its backend."""

    async def ask(control: LifecycleControl) -> tuple[State, Health]:
        return await control.state(), await control.health()

    state, health = _command(connection, admin_token_file, ask)
    if as_json:
        write_json(
            state=state, status=health.status, message=health.message, details=dict(health.details)
        )
        return
    write_line(f"{state}, {health.status}: {escaped(health.message)}")
    for name, text in sorted(health.details.items()):
        write_line(escaped(f"  {name}: {text}"))


@app.command()
@connected
def drain(
    connection: Connection,
    admin_token_file: AdminTokenFile = None,
    timeout: Annotated[
        timedelta, _timeout("Abort what is still in flight after this time.", "30s")
    ] = DRAIN_TIMEOUT,
    as_json: AsJson = False,
) -> None:
    """Refuse new work, and finish what is in flight."""
    report = _command(connection, admin_token_file, lambda control: control.drain(timeout))
    if as_json:
        write_json(completed=report.completed, aborted=report.aborted)
    else:
        write_line(f"drained: {report.completed:,} completed, {report.aborted:,} aborted")


@app.command()
@connected
def stop(
    connection: Connection,
    admin_token_file: AdminTokenFile = None,
    timeout: Annotated[
        timedelta, _timeout("Close by force what is still open after this time.", "10s")
    ] = STOP_TIMEOUT,
    drain_timeout: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=positive_duration,
            show_default="30s",
            help="Abort what is still in flight after this time.",
        ),
    ] = DRAIN_TIMEOUT,
    as_json: AsJson = False,
) -> None:
    """Finish what is in flight, and close everything; the server's process ends."""

    async def drain_and_stop(control: LifecycleControl) -> None:
        if await control.state() is State.RUNNING:
            await control.drain(drain_timeout)
        await control.stop(timeout)

    _command(connection, admin_token_file, drain_and_stop)
    if as_json:
        write_json(state=State.STOPPED)
    else:
        write_line("stopped")


def _command(
    connection: Connection,
    admin_token_file: Path | None,
    command: Callable[[LifecycleControl], Awaitable[Result]],
) -> Result:
    token = None if admin_token_file is None else read_secret(admin_token_file)

    async def connect_and_command() -> Result:
        from prism import connect_admin

        async with connect_admin(
            connection.address,
            timeout=connection.timeout,
            tls=connection.security,
            admin_token=token,
        ) as admin:
            return await command(admin.lifecycle)

    return asyncio.run(connect_and_command())
