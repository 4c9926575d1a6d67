"""The one place that looks inside a connection of redis-py.

redis-py resolves names, asks sentinels, talks TLS, logs in and chooses the database; its
way of sending one command after another is what we have no use for. So a connection that
it has opened gets another protocol on its transport, which redis-py has no public name for.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import redis
from redis.asyncio.connection import AbstractConnection, DefaultParser


async def take_over(
    connection: AbstractConnection, protocol: asyncio.Protocol
) -> asyncio.Transport:
    """What carries an open connection, which from now on speaks to the protocol.

    The connection has to be kept for as long as the transport is used, since its writer
    closes what it writes to when it goes, and then let go.

    Raises:
        redis.ConnectionError: the server said something that was not asked for.
    """
    if await connection.can_read():
        raise redis.ConnectionError("closed, or not quiet")
    writer = connection._writer
    assert writer is not None
    # Of an open connection it is one that reads as well.
    transport = cast("asyncio.Transport", writer.transport)
    transport.set_protocol(protocol)
    return transport


def let_go(connection: AbstractConnection) -> None:
    """Close it, if it is not, without waiting."""
    connection._close()  # type: ignore[no-untyped-call]


def parse_refusal(text: str) -> Exception:
    """What redis-py would raise for an error that the server answers."""
    parser: Any = DefaultParser
    refusal: Exception = parser.parse_error(text)
    return refusal
