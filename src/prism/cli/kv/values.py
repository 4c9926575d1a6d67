"""`prism kv set`, `get`, `delete` and `exists`."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prism.cli.arguments import AsJson, IfVersion, Key, TtlOption
from prism.cli.connection import Connection, connected_to_keys
from prism.cli.errors import Status, absent
from prism.cli.kv.json_lines import remaining_ms, value_field
from prism.cli.output import version_field, write, write_json, write_line
from prism.ports import Version

if TYPE_CHECKING:
    from prism import Client


@connected_to_keys
def set_value(
    connection: Connection,
    key: Key,
    value: Annotated[
        str | None, typer.Argument(metavar="VALUE", help="`-` or none: read from stdin.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Read the value from this file.")
    ] = None,
    ttl: TtlOption = None,
    if_absent: Annotated[
        bool, typer.Option("--if-absent", help="Only if the key does not exist.")
    ] = False,
    if_version: IfVersion = None,
    as_json: AsJson = False,
) -> None:
    """Write a value. Without --ttl the key does not expire, whatever it had before."""
    if if_absent and if_version is not None:
        raise typer.BadParameter("--if-absent and --if-version exclude each other")
    data = _value(value, file)

    def write_value(client: Client) -> Awaitable[Version]:
        if if_absent or if_version is not None:
            expected = None if if_version is None else Version(if_version)
            return client.compare_and_set(key, data, expected=expected, ttl=ttl)
        return client.set(key, data, ttl=ttl)

    version = connection.run(write_value, writes=True)
    if as_json:
        write_json(key=key, version=version_field(version))


@connected_to_keys
def get(connection: Connection, key: Key, as_json: AsJson = False) -> None:
    """Print a value, byte for byte; exit status 3 if the key does not exist."""
    entry = connection.run(lambda client: client.get(key))
    if as_json:
        if entry is None:
            write_json(key=key, exists=False)
            raise typer.Exit(Status.ABSENT)
        write_json(
            key=key,
            exists=True,
            **value_field(entry.value),
            version=version_field(entry.version),
            ttl_ms=remaining_ms(entry),
        )
        return
    if entry is None:
        raise absent(key)
    write(entry.value + b"\n" if sys.stdout.isatty() else entry.value)


@connected_to_keys
def delete(
    connection: Connection, key: Key, if_version: IfVersion = None, as_json: AsJson = False
) -> None:
    """Remove a key; exit status 3 if it does not exist."""

    async def remove(client: Client) -> bool:
        if if_version is None:
            return await client.delete(key)
        await client.compare_and_delete(key, expected=Version(if_version))
        return True

    existed = connection.run(remove, writes=True)
    if as_json:
        write_json(key=key, existed=existed)
    if not existed:
        raise typer.Exit(Status.ABSENT) if as_json else absent(key)


@connected_to_keys
def exists(connection: Connection, key: Key, as_json: AsJson = False) -> None:
    """Print true or false; exit status 0 or 3."""
    found = connection.run(lambda client: client.exists(key))
    if as_json:
        write_json(key=key, exists=found)
    else:
        write_line("true" if found else "false")
    if not found:
        raise typer.Exit(Status.ABSENT)


def _value(argument: str | None, file: Path | None) -> bytes:
    """Read before connecting: stdin may keep us waiting, the server should not."""
    if file is not None:
        if argument is not None:
            raise typer.BadParameter("give the value as an argument or with --file, not both")
        return file.read_bytes()
    if argument is None or argument == "-":
        return typer.get_binary_stream("stdin").read()
    # The bytes that the shell passed, also where they are no text.
    return os.fsencode(argument)
