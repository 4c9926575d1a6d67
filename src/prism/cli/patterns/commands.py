"""The commands of `prism patterns`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from prism.bootstrap.secret_files import read_secret
from prism.cli.arguments import AsJson, positive_duration
from prism.cli.connection import Connection, connected
from prism.cli.errors import tell
from prism.cli.lifecycle import AdminTokenFile
from prism.cli.output import write_json, write_line
from prism.cli.patterns import fields, text
from prism.cli.patterns.options import settings_of
from prism.ports import DRAIN_TIMEOUT

if TYPE_CHECKING:
    from prism.adapters.client.patterns import PatternsClient
    from prism.adapters.wire.proxy_messages import PatternInfo
    from prism.domain.patterns.values import PatternEvent

Result = TypeVar("Result")

app = typer.Typer(
    help="See the patterns behind a proxy, restart, drain and replace them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="Of the pattern.")]


@app.command("list")
@connected
def list_patterns(
    connection: Connection, admin_token_file: AdminTokenFile = None, as_json: AsJson = False
) -> None:
    """List the patterns, and how each fares."""
    patterns = _ask(connection, admin_token_file, lambda proxy: proxy.all())
    if as_json:
        write_json(patterns=[fields.of_pattern(each) for each in patterns])
        return
    for line in text.table_of(patterns):
        write_line(line)


@app.command()
@connected
def show(
    connection: Connection,
    name: Name,
    admin_token_file: AdminTokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Show a pattern, what has happened to it, and what it told of itself last."""
    told = _ask(connection, admin_token_file, lambda proxy: proxy.get(name))
    if as_json:
        write_json(
            **fields.of_pattern(told.pattern),
            events=[fields.of_event(each) for each in told.events],
            debug_events=[fields.of_debug_event(each) for each in told.debug_events],
        )
        return
    for line in text.lines_of(told):
        write_line(line)


@app.command()
@connected
def restart(
    connection: Connection,
    name: Name,
    admin_token_file: AdminTokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Finish what is in flight, stop the pattern's process, and launch another.

    Ends when that serves. A pattern that was drained, or has failed, serves again.
    """
    pattern = _ask(connection, admin_token_file, lambda proxy: proxy.restart(name))
    _tell_serving(pattern, "restarted", as_json=as_json)


@app.command()
@connected
def drain(
    connection: Connection,
    name: Name,
    admin_token_file: AdminTokenFile = None,
    timeout: Annotated[
        timedelta,
        typer.Option(
            "--timeout",
            metavar="DURATION",
            parser=positive_duration,
            show_default="30s",
            help="Abort what is still in flight after this time.",
        ),
    ] = DRAIN_TIMEOUT,
    as_json: AsJson = False,
) -> None:
    """Refuse new work, and finish what is in flight; it stays so until it is restarted."""
    report = _ask(connection, admin_token_file, lambda proxy: proxy.drain(name, timeout))
    if as_json:
        write_json(completed=report.completed, aborted=report.aborted)
    else:
        write_line(f"drained: {report.completed:,} completed, {report.aborted:,} aborted")


@app.command()
@connected
def replace(
    connection: Connection,
    name: Name,
    driver: Annotated[
        str, typer.Option(metavar="DRIVER", help="Of the new process (default: the same).")
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="A setting of the driver, such as url=redis://…; repeatable."
        ),
    ] = None,
    option_file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=PATH", help="A setting that is kept in a file of its own; repeatable."
        ),
    ] = None,
    discard_data: Annotated[
        bool,
        typer.Option(
            "--discard-data", help="Go on although the new one cannot read what the old one holds."
        ),
    ] = False,
    admin_token_file: AdminTokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Launch another process beside the pattern's, check it, and switch over to it.

    No call fails meanwhile. Where the new one will not do, the old one serves as before. A
    pattern that does not serve can be replaced as well: the new process is checked by itself.
    """
    settings = settings_of(option or (), option_file or ())
    pattern = _ask(
        connection,
        admin_token_file,
        lambda proxy: proxy.replace(name, driver, settings, discard_data=discard_data),
    )
    _tell_serving(pattern, "replaced", as_json=as_json)


@app.command()
@connected
def events(
    connection: Connection,
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Of one pattern (default: of all).")
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with what happens, until Ctrl-C.")
    ] = False,
    admin_token_file: AdminTokenFile = None,
    as_json: AsJson = False,
) -> None:
    """Print what has happened to the patterns, a line for each event."""

    def write(event: PatternEvent) -> None:
        if as_json:
            write_json(**fields.of_event(event))
        else:
            write_line(text.line_of_event(event))

    async def tell_all(proxy: PatternsClient) -> None:
        if not follow:
            for event in await proxy.events(name):
                write(event)
            return
        async with aclosing(proxy.follow(name)) as happening:
            await _write_each(happening, write)

    _ask(connection, admin_token_file, tell_all)
    if follow:
        tell("the proxy has ended")


async def _write_each(
    happening: AsyncIterator[PatternEvent], write: Callable[[PatternEvent], None]
) -> None:
    async for event in happening:
        write(event)


def _tell_serving(pattern: PatternInfo, done: str, *, as_json: bool) -> None:
    if as_json:
        write_json(**fields.of_pattern(pattern))
        return
    status = pattern.status
    write_line(f"{done}: {status.name} is {status.state.label}, process {status.process_id}")


def _ask(
    connection: Connection,
    admin_token_file: Path | None,
    command: Callable[[PatternsClient], Awaitable[Result]],
) -> Result:
    token = None if admin_token_file is None else read_secret(admin_token_file)

    async def connect_and_ask() -> Result:
        from prism import connect_admin

        async with connect_admin(
            connection.address,
            timeout=connection.timeout,
            tls=connection.security,
            admin_token=token,
        ) as admin:
            return await command(admin.patterns)

    return asyncio.run(connect_and_ask())
