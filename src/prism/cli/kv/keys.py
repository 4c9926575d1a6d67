"""`prism kv`: the commands on one key."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from prism.cli.connection import KeyCommand, connection_of
from prism.cli.errors import ExitStatus, no_such_key
from prism.cli.kv.json_lines import remaining_ms, value_field
from prism.cli.parameters import AsJson, IfVersion, Key, TtlArgument, TtlOption, example
from prism.cli.streams import version_field, write, write_json, write_line
from prism.domain.validation import check_value
from prism.ports import INT64_MAX, INT64_MIN, Persisted, Version

if TYPE_CHECKING:
    from prism import Client

app = typer.Typer(rich_markup_mode=None)


@app.command("put", cls=KeyCommand, hidden=True)
@app.command("set", cls=KeyCommand, epilog=example("kv set greeting hello --ttl 1h"))
def set_value(
    ctx: typer.Context,
    key: Key,
    value: Annotated[
        str | None,
        typer.Argument(metavar="VALUE", help="Value; `-` or no value: read it from stdin."),
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
    """Write a value. Without --ttl the key does not expire, even if it had a ttl before."""
    if if_absent and if_version is not None:
        raise typer.BadParameter("--if-absent and --if-version exclude each other")
    data = _value(value, file)

    def write_value(client: Client) -> Awaitable[Version]:
        # The server would refuse the message, whose limit says nothing about that of values.
        check_value(data, client.profile.limits.max_value_bytes)
        if if_absent or if_version is not None:
            expected = None if if_version is None else Version(if_version)
            return client.compare_and_set(key, data, expected=expected, ttl=ttl)
        return client.set(key, data, ttl=ttl)

    version = connection_of(ctx).call("set", write_value)
    if as_json:
        write_json(key=key, version=version_field(version))


@app.command(cls=KeyCommand, epilog=example("kv get greeting"))
def get(ctx: typer.Context, key: Key, as_json: AsJson = False) -> None:
    """Print a value, byte for byte.

    Exit status 3 if the key does not exist.
    """
    entry = connection_of(ctx).call("get", lambda client: client.get(key))
    if entry is None:
        raise _absent(key, as_json)
    if as_json:
        write_json(
            key=key,
            exists=True,
            **value_field(entry.value),
            version=version_field(entry.version),
            ttl_ms=remaining_ms(entry),
        )
    else:
        write(entry.value + b"\n" if sys.stdout.isatty() else entry.value)


@app.command("del", cls=KeyCommand, hidden=True)
@app.command(cls=KeyCommand, epilog=example("kv delete greeting"))
def delete(
    ctx: typer.Context, key: Key, if_version: IfVersion = None, as_json: AsJson = False
) -> None:
    """Remove a key; exit status 3 if it does not exist."""

    async def remove(client: Client) -> bool:
        if if_version is None:
            return await client.delete(key)
        await client.compare_and_delete(key, expected=Version(if_version))
        return True

    existed = connection_of(ctx).call("delete", remove)
    if as_json:
        write_json(key=key, existed=existed)
    if not existed:
        raise typer.Exit(ExitStatus.NO_SUCH_KEY) if as_json else no_such_key(key)


@app.command(cls=KeyCommand, epilog=example("kv exists greeting"))
def exists(ctx: typer.Context, key: Key, as_json: AsJson = False) -> None:
    """Print true or false; exit status 0 or 3."""
    found = connection_of(ctx).call("exists", lambda client: client.exists(key))
    if as_json:
        write_json(key=key, exists=found)
    else:
        write_line("true" if found else "false")
    if not found:
        raise typer.Exit(ExitStatus.NO_SUCH_KEY)


@app.command(cls=KeyCommand, epilog=example("kv ttl greeting"))
def ttl(ctx: typer.Context, key: Key, as_json: AsJson = False) -> None:
    """Print the time until a key expires.

    Prints text such as 12.345s, or none if the key does not expire.
    """
    lifetime = connection_of(ctx).call("ttl", lambda client: client.ttl(key))
    if lifetime is None:
        raise _absent(key, as_json)
    remaining = lifetime.remaining
    if as_json:
        ttl_ms = None if remaining is None else max(1, remaining // timedelta(milliseconds=1))
        write_json(key=key, exists=True, ttl_ms=ttl_ms)
    else:
        write_line("none" if remaining is None else f"{remaining.total_seconds():.3f}s")


@app.command(cls=KeyCommand, epilog=example("kv expire greeting 30m"))
def expire(ctx: typer.Context, key: Key, ttl: TtlArgument, as_json: AsJson = False) -> None:
    """Let an existing key expire after a time."""
    if not connection_of(ctx).call("expire", lambda client: client.expire(key, ttl)):
        raise _absent(key, as_json)
    if as_json:
        write_json(key=key, exists=True)


@app.command(cls=KeyCommand, epilog=example("kv persist greeting"))
def persist(ctx: typer.Context, key: Key, as_json: AsJson = False) -> None:
    """Remove the expiry of an existing key."""
    found = connection_of(ctx).call("persist", lambda client: client.persist(key))
    if found is Persisted.NO_KEY:
        raise _absent(key, as_json)
    if as_json:
        write_json(key=key, exists=True, had_ttl=found is Persisted.EXPIRY_REMOVED)


@app.command(cls=KeyCommand, epilog=example("kv incr visits --by 5"))
def incr(
    ctx: typer.Context,
    key: Key,
    by: Annotated[
        int, typer.Option(metavar="N", min=INT64_MIN, max=INT64_MAX, help="Number to add.")
    ] = 1,
    as_json: AsJson = False,
) -> None:
    """Add to a counter, and print the sum.

    The value is a number as text; an absent key counts as 0.
    """
    count = connection_of(ctx).call("increment", lambda client: client.increment(key, by))
    if as_json:
        write_json(key=key, value=count.value, version=version_field(count.version))
    else:
        write_line(str(count.value))


def _absent(key: str, as_json: bool) -> typer.Exit:
    if as_json:
        write_json(key=key, exists=False)
        return typer.Exit(ExitStatus.NO_SUCH_KEY)
    return no_such_key(key)


def _value(argument: str | None, file: Path | None) -> bytes:
    """Read the value before connecting: stdin may be slow, and the server should not wait."""
    if file is not None:
        if argument is not None:
            raise typer.BadParameter("give the value as an argument or with --file, not both")
        return file.read_bytes()
    if argument is None or argument == "-":
        return typer.get_binary_stream("stdin").read()
    # The bytes that the shell passed, even if they are not text.
    return os.fsencode(argument)
