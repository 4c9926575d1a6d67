"""`prism kv watch`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prism.cli.arguments import AsJson, PrefixArgument
from prism.cli.connection import Connection, connected_to_keys
from prism.cli.errors import tell
from prism.cli.kv.json_lines import value_field
from prism.cli.output import encode_json, version_field, write
from prism.ports import Event

if TYPE_CHECKING:
    from prism import Client


@connected_to_keys
def watch(
    connection: Connection,
    prefix: PrefixArgument = "",
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="End after so many events.")
    ] = None,
    values: Annotated[bool, typer.Option("--values", help="Add the value, after a tab.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print what happens to the keys that begin with a prefix, until interrupted.

    One line for each event: put, delete or expire, a tab, and the key. A line on stderr
    tells that the watch stands. A watch that may have missed something ends with status 5:
    watch again, and read what it is about. A key may hold a newline: use --json where that
    matters.
    """

    async def print_events(client: Client) -> None:
        left = count
        async with client.watch(prefix) as events:
            tell(f"watching {prefix!r}" if prefix else "watching every key")
            async for event in events:
                write((_as_json(event) if as_json else _as_text(event, values)) + b"\n")
                if left is not None:
                    left -= 1
                    if not left:
                        return

    connection.run(print_events)


def _as_text(event: Event, values: bool) -> bytes:
    line = f"{event.change}\t{event.key}".encode()
    return line if not values or event.value is None else line + b"\t" + event.value


def _as_json(event: Event) -> bytes:
    fields = {"event": str(event.change), "key": event.key}
    if event.value is not None:
        fields |= value_field(event.value)
    if event.version is not None:
        fields["version"] = version_field(event.version)
    return encode_json(fields)
