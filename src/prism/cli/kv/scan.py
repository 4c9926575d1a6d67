"""`prism kv scan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from prism.cli.arguments import AsJson, PrefixArgument
from prism.cli.connection import Connection, connected_to_keys
from prism.cli.kv.json_lines import remaining_ms, value_field
from prism.cli.output import encode_json, version_field, write
from prism.ports import Entry

if TYPE_CHECKING:
    from prism import Client


@connected_to_keys
def scan(
    connection: Connection,
    prefix: PrefixArgument = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Stop after so many keys.")
    ] = None,
    values: Annotated[bool, typer.Option("--values", help="Add the value, after a tab.")] = False,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="End each key with NUL instead of a newline.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """List the keys that begin with a prefix, in the order of the backend.

    A key may hold a newline: use --json or --null where that matters.
    """
    end = b"\0" if null and not as_json else b"\n"
    render = _as_json if as_json else _as_text

    async def print_pages(client: Client) -> None:
        # A page may repeat a key of an earlier one.
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

    connection.run(print_pages)


def _as_text(key: str, entry: Entry | None) -> bytes:
    return key.encode() if entry is None else key.encode() + b"\t" + entry.value


def _as_json(key: str, entry: Entry | None) -> bytes:
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
