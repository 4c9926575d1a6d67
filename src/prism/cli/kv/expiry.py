"""`prism kv ttl`, `expire` and `persist`."""

from __future__ import annotations

from datetime import timedelta

import typer

from prism.cli.arguments import AsJson, Key, TtlArgument
from prism.cli.connection import Connection, connected_to_keys
from prism.cli.errors import Status, absent
from prism.cli.output import write_json, write_line
from prism.ports import Persisted


@connected_to_keys
def ttl(connection: Connection, key: Key, as_json: AsJson = False) -> None:
    """Print how long a key has to live, such as 12.345s, or none."""
    lifetime = connection.run(lambda client: client.ttl(key))
    if lifetime is None:
        raise _absent(key, as_json)
    remaining = lifetime.remaining
    if as_json:
        ttl_ms = None if remaining is None else max(1, remaining // timedelta(milliseconds=1))
        write_json(key=key, exists=True, ttl_ms=ttl_ms)
    else:
        write_line("none" if remaining is None else f"{remaining.total_seconds():.3f}s")


@connected_to_keys
def expire(connection: Connection, key: Key, ttl: TtlArgument, as_json: AsJson = False) -> None:
    """Give an existing key a new time to live."""
    if not connection.run(lambda client: client.expire(key, ttl), writes=True):
        raise _absent(key, as_json)
    if as_json:
        write_json(key=key, exists=True)


@connected_to_keys
def persist(connection: Connection, key: Key, as_json: AsJson = False) -> None:
    """Let an existing key live for ever."""
    found = connection.run(lambda client: client.persist(key), writes=True)
    if found is Persisted.NO_KEY:
        raise _absent(key, as_json)
    if as_json:
        write_json(key=key, exists=True, had_ttl=found is Persisted.EXPIRY_REMOVED)


def _absent(key: str, as_json: bool) -> typer.Exit:
    if as_json:
        write_json(key=key, exists=False)
        return typer.Exit(Status.ABSENT)
    return absent(key)
