"""`prism patterns`: show, restart, drain and replace the patterns of a proxy."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.main import get_group

from prism.bootstrap.files import read_secret
from prism.cli import pattern_output
from prism.cli.connection import AdminCommand, complete_patterns, connection_of
from prism.cli.errors import print_message
from prism.cli.lifecycle import write_drained
from prism.cli.parameters import AsJson, DrainTimeout, example, installed_drivers
from prism.cli.streams import write_json, write_line
from prism.ports import DRAIN_TIMEOUT

if TYPE_CHECKING:
    from prism import AdminClient
    from prism.adapters.wire.proxy_messages import PatternInfo
    from prism.domain.patterns.values import PatternEvent

app = typer.Typer(
    name="patterns",
    help="Show the patterns of a proxy, restart, drain and replace them.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", autocompletion=complete_patterns, help="Name of the pattern."),
]


@app.command("list", cls=AdminCommand, epilog=example("patterns list"))
def list_patterns(ctx: typer.Context, as_json: AsJson = False) -> None:
    """List the patterns with state and health."""
    patterns = connection_of(ctx).administer(lambda client: client.patterns.all())
    if as_json:
        write_json(patterns=[pattern_output.pattern_fields(each) for each in patterns])
        return
    for line in pattern_output.table_lines(patterns):
        write_line(line)


@app.command(cls=AdminCommand, epilog=example("patterns show cache"))
def show(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Show one pattern with its latest events and debug events."""
    details = connection_of(ctx).administer(lambda client: client.patterns.get(name))
    if as_json:
        write_json(**pattern_output.details_fields(details))
        return
    for line in pattern_output.details_lines(details):
        write_line(line)


@app.command(cls=AdminCommand, epilog=example("patterns restart cache"))
def restart(ctx: typer.Context, name: Name, as_json: AsJson = False) -> None:
    """Finish the calls in flight, stop the pattern's process, and launch another.

    Returns when the new process serves. A pattern that was drained or has failed serves again.
    """
    pattern = connection_of(ctx).administer(lambda client: client.patterns.restart(name))
    _write_serving(pattern, "restarted", as_json=as_json)


@app.command(cls=AdminCommand, epilog=example("patterns drain cache --timeout 10s"))
def drain(
    ctx: typer.Context,
    name: Name,
    timeout: DrainTimeout = DRAIN_TIMEOUT,
    as_json: AsJson = False,
) -> None:
    """Refuse new calls, and wait for those in flight; the pattern stays drained until a restart."""
    report = connection_of(ctx).administer(lambda client: client.patterns.drain(name, timeout))
    write_drained(report, as_json)


@app.command(
    cls=AdminCommand,
    epilog=example("patterns replace cache --driver redis --option url=redis://localhost:6379"),
)
def replace(
    ctx: typer.Context,
    name: Name,
    driver: Annotated[
        str,
        typer.Option(
            metavar="DRIVER",
            autocompletion=installed_drivers,
            help="Driver of the new process (default: the same).",
        ),
    ] = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE", help="Setting of the driver, such as url=redis://…; repeatable."
        ),
    ] = None,
    option_file: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=PATH", help="Setting whose value is read from a file; repeatable."
        ),
    ] = None,
    discard_data: Annotated[
        bool,
        typer.Option(
            "--discard-data",
            help="Go on even if the new process cannot read the data of the old one.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Launch another process beside the pattern's, check it, and switch over to it.

    No call fails meanwhile. If the check fails, the old process goes on serving. A pattern that
    does not serve can be replaced as well.
    """
    settings = _settings(option or (), option_file or ())
    pattern = connection_of(ctx).administer(
        lambda client: client.patterns.replace(name, driver, settings, discard_data=discard_data)
    )
    _write_serving(pattern, "replaced", as_json=as_json)


@app.command(cls=AdminCommand, epilog=example("patterns events --follow"))
def events(
    ctx: typer.Context,
    name: Annotated[
        str,
        typer.Argument(
            metavar="[NAME]",
            autocompletion=complete_patterns,
            help="Name of one pattern (default: all).",
        ),
    ] = "",
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on with new events, until Ctrl-C.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Print the latest events of the patterns, one line each."""

    def write(event: PatternEvent) -> None:
        if as_json:
            write_json(**pattern_output.event_fields(event))
        else:
            write_line(pattern_output.event_line(event))

    async def write_remembered(client: AdminClient) -> None:
        for event in await client.patterns.events(name):
            write(event)

    async def write_and_follow(client: AdminClient) -> None:
        async with aclosing(client.patterns.follow(name)) as stream:
            async for event in stream:
                write(event)

    connection_of(ctx).administer(write_and_follow if follow else write_remembered)
    if follow:
        print_message("the proxy has ended")


def _write_serving(pattern: PatternInfo, done: str, *, as_json: bool) -> None:
    if as_json:
        write_json(**pattern_output.pattern_fields(pattern))
        return
    status = pattern.status
    write_line(f"{done}: {status.name} is {status.state.label}, process {status.process_id}")


def _settings(direct: Iterable[str], in_files: Iterable[str]) -> dict[str, str]:
    """Return the settings by key; raises typer.BadParameter if one is malformed or repeated."""
    settings: dict[str, str] = {}
    for key, text in _pairs(direct, "--option", "KEY=VALUE"):
        _add(settings, key, text)
    for key, path in _pairs(in_files, "--option-file", "KEY=PATH"):
        _add(settings, key, read_secret(Path(path)))
    return settings


def _pairs(given: Iterable[str], flag: str, form: str) -> Iterable[tuple[str, str]]:
    for each in given:
        key, separator, text = each.partition("=")
        if not (separator and key):
            # The text is not quoted: it may be a secret without its key.
            raise typer.BadParameter(f"{flag} is not {form}, such as url=redis://localhost:6379")
        yield key.replace("-", "_"), text


def _add(settings: dict[str, str], key: str, text: str) -> None:
    if key in settings:
        raise typer.BadParameter(f"the setting {key!r} is given twice")
    settings[key] = text


COMMANDS = {"patterns": get_group(app)}
