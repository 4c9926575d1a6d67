"""`prism kv scan` and `prism kv watch`: the commands on the keys with a prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prism.cli.connection import KeyCommand, connection_of
from prism.cli.errors import print_message
from prism.cli.kv.json_lines import remaining_ms, value_field
from prism.cli.parameters import AsJson, PrefixArgument, example
from prism.cli.streams import encode_json, version_field, write
from prism.ports import Entry, Event, PrismError, WatchEnded

if TYPE_CHECKING:
    from prism import Client

Values = Annotated[bool, typer.Option("--values", help="Print each value after its key and a tab.")]


app = typer.Typer(rich_markup_mode=None)


@app.command(cls=KeyCommand, epilog=example("kv scan user/ --values"))
def scan(
    ctx: typer.Context,
    prefix: PrefixArgument = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop after this number of keys.")
    ] = None,
    values: Values = False,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="End each key with NUL instead of a newline.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the keys that begin with a prefix.

    The order is that of the backend. A key may contain a newline: use --json or --null where
    that matters.
    """
    end = b"\0" if null and not as_json else b"\n"
    render = _entry_json if as_json else _entry_text

    async def print_pages(client: Client) -> None:
        # A page may repeat a key of an earlier page.
        seen: set[str] = set()
        token = ""
        while True:
            size = client.profile.limits.max_page_size if limit is None else limit - len(seen)
            page = await client.scan(prefix, page_size=size, page_token=token, values=values)
            lines = []
            for index, key in enumerate(page.keys):
                if key not in seen and len(seen) != limit:
                    seen.add(key)
                    lines.append(render(key, page.entries[index] if page.entries else None) + end)
            if lines:
                write(b"".join(lines))
            token = page.next_token
            if not token or len(seen) == limit:
                return

    connection_of(ctx).run(print_pages)


@app.command(cls=KeyCommand, epilog=example("kv watch user/"))
def watch(
    ctx: typer.Context,
    prefix: PrefixArgument = "",
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="End after this number of events.")
    ] = None,
    values: Values = False,
    as_json: AsJson = False,
) -> None:
    """Print changes of keys, until interrupted.

    Each event is one line: put, delete or expire, a tab, and the key. A line on stderr says
    when the watch has started. A watch that may have missed an event ends with exit status 5:
    start a new watch and re-read the keys. A key may contain a newline: use --json where that
    matters.
    """

    async def print_events(client: Client) -> None:
        async with client.watch(prefix) as events:
            print_message(f"watching {prefix!r}" if prefix else "watching every key")
            left = count
            try:
                async for event in events:
                    write((_event_json(event) if as_json else _event_text(event, values)) + b"\n")
                    if left is not None:
                        left -= 1
                        if not left:
                            return
            except PrismError as error:
                if isinstance(error, WatchEnded):
                    raise
                # The events after its end are missing, for any reason.
                raise WatchEnded(
                    f"the watch ended ({error.message}): start a new watch and re-read the keys"
                ) from None

    connection_of(ctx).run(print_events)


def _entry_text(key: str, entry: Entry | None) -> bytes:
    return key.encode() if entry is None else key.encode() + b"\t" + entry.value


def _entry_json(key: str, entry: Entry | None) -> bytes:
    if entry is None:
        return encode_json({"key": key})
    return encode_json(
        {
            "key": key,
            **value_field(entry.value),
            "version": version_field(entry.version),
            "ttl_ms": remaining_ms(entry),
        }
    )


def _event_text(event: Event, values: bool) -> bytes:
    line = f"{event.change}\t{event.key}".encode()
    return line if not values or event.value is None else line + b"\t" + event.value


def _event_json(event: Event) -> bytes:
    fields = {"event": str(event.change), "key": event.key}
    if event.value is not None:
        fields |= value_field(event.value)
    if event.version is not None:
        fields["version"] = version_field(event.version)
    return encode_json(fields)
