"""`prism lifecycle` and `prism health`: state and health of a running server, and its end."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from typer.main import get_group

from prism.adapters.observability.formatting import escaped
from prism.cli.connection import AdminCommand, ClientCommand, connection_of
from prism.cli.errors import ExitStatus
from prism.cli.parameters import AsJson, DrainTimeout, example, positive_duration
from prism.cli.streams import write_json, write_line
from prism.ports import DRAIN_TIMEOUT, STOP_TIMEOUT, DrainReport, Health, State

if TYPE_CHECKING:
    from prism import AdminClient

health_app = typer.Typer(rich_markup_mode=None)
app = typer.Typer(
    name="lifecycle",
    help="Show a server's state, drain it, stop it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(cls=AdminCommand, epilog=example("lifecycle status"))
def status(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Show the state of the server and the health of its backend."""

    async def ask(client: AdminClient) -> tuple[State, Health]:
        return await client.lifecycle.state(), await client.lifecycle.health()

    state, health = connection_of(ctx).administer(ask)
    if as_json:
        write_json(
            state=state, status=health.status, message=health.message, details=dict(health.details)
        )
        return
    write_line(f"{state}, {health.status}: {escaped(health.message)}")
    for name, text in sorted(health.details.items()):
        write_line(escaped(f"  {name}: {text}"))


@app.command(cls=AdminCommand, epilog=example("lifecycle drain --timeout 10s"))
def drain(
    ctx: typer.Context, timeout: DrainTimeout = DRAIN_TIMEOUT, as_json: AsJson = False
) -> None:
    """Refuse new calls, and wait for those in flight."""
    write_drained(connection_of(ctx).administer(lambda c: c.lifecycle.drain(timeout)), as_json)


@app.command(cls=AdminCommand, epilog=example("lifecycle stop --drain-timeout 10s"))
def stop(
    ctx: typer.Context,
    timeout: Annotated[
        timedelta,
        typer.Option(
            metavar="DURATION",
            parser=positive_duration,
            show_default="10s",
            help="Close by force what is still open after this time.",
        ),
    ] = STOP_TIMEOUT,
    drain_timeout: DrainTimeout = DRAIN_TIMEOUT,
    as_json: AsJson = False,
) -> None:
    """Drain the server, close its driver, and end its process."""

    async def drain_and_stop(client: AdminClient) -> None:
        if await client.lifecycle.state() is State.RUNNING:
            await client.lifecycle.drain(drain_timeout)
        await client.lifecycle.stop(timeout)

    connection_of(ctx).administer(drain_and_stop)
    if as_json:
        write_json(state=State.STOPPED)
    else:
        write_line("stopped")


@health_app.command(cls=ClientCommand, epilog=example("health --timeout 1s"))
def health(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Ask whether the server serves.

    Exit status 0 if the server serves, else 1.
    """
    status = connection_of(ctx).administer(lambda client: client.serving_status())
    if as_json:
        write_json(status=status)
    else:
        write_line(status)
    if status != "SERVING":
        raise typer.Exit(ExitStatus.FAILURE)


def write_drained(report: DrainReport, as_json: bool) -> None:
    """Print the result of a drain."""
    if as_json:
        write_json(completed=report.completed, aborted=report.aborted)
    else:
        write_line(f"drained: {report.completed:,} completed, {report.aborted:,} aborted")


COMMANDS = {"lifecycle": get_group(app), **get_group(health_app).commands}
