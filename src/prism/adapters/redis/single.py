"""One server that has all the keys: by itself, or the master that sentinels name."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import chain, islice

import redis
from redis.asyncio.connection import AbstractConnection, Connection, ConnectionPool, SSLConnection
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool

from prism.adapters.redis.address import Address, Topology
from prism.adapters.redis.executor import Request, Server
from prism.adapters.redis.multiplexed import MultiplexedServer
from prism.adapters.redis.operations import Reply
from prism.adapters.redis.options import connection_options, no_retries, talks_tls, tls_options
from prism.adapters.redis.scripts import Command
from prism.adapters.redis.settings import RedisSettings

_ASK_A_SENTINEL_S = 1.0
"""Before the next one is asked."""


class Single:
    """Implements `Executor`."""

    def __init__(self, settings: RedisSettings, address: Address) -> None:
        tls = talks_tls(settings, address)
        options = {
            **connection_options(settings, address),
            "db": address.db,
            "retry": no_retries(),
        }
        self._sentinel: Sentinel | None = None
        self._pool: ConnectionPool
        if address.topology is Topology.SENTINEL:
            self._sentinel = _sentinel(settings, address)
            self._pool = SentinelConnectionPool(  # type: ignore[no-untyped-call]
                address.service, self._sentinel, ssl=tls, **options
            )
        else:
            host, port = address.hosts[0]
            kind = SSLConnection if tls else Connection
            self._pool = ConnectionPool(kind, host=host, port=port, **options)
        self._server = MultiplexedServer(
            address.service or str(address),
            self._pool.make_connection,
            in_flight=settings.in_flight,
            timeout_s=settings.timeout.total_seconds(),
        )

    @property
    def connections(self) -> int:
        return self._server.connections

    async def open(self) -> None:
        await self._server.open()

    async def close(self) -> None:
        await self._server.close()
        with suppress(redis.RedisError, OSError):
            await self._pool.aclose()
        if self._sentinel is not None:
            with suppress(redis.RedisError, OSError):
                await self._sentinel.aclose()

    async def send(self, request: Request, *, repeatable: bool) -> list[Reply]:
        return await self._server.send(request.commands, repeatable=repeatable)

    async def send_many(
        self, requests: Sequence[Request], *, loads: Sequence[Command], repeatable: bool
    ) -> list[list[Reply]]:
        return await send_together(self._server, requests, loads, repeatable=repeatable)

    async def servers(self) -> Sequence[Server]:
        return [self._server]

    def suspect(self) -> None:
        """Nothing is known that could be: every connection asks anew."""

    async def dedicated(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
        await connection.connect()  # type: ignore[no-untyped-call]
        return connection


async def send_together(
    server: Server,
    requests: Sequence[Request],
    loads: Sequence[Command],
    *,
    repeatable: bool,
) -> list[list[Reply]]:
    """The replies to each request, all sent to one server in one write."""
    commands = [*loads, *chain.from_iterable(request.commands for request in requests)]
    replies = iter((await server.send(commands, repeatable=repeatable))[len(loads) :])
    return [list(islice(replies, len(request.commands))) for request in requests]


def _sentinel(settings: RedisSettings, address: Address) -> Sentinel:
    return Sentinel(  # type: ignore[no-untyped-call]
        address.hosts,
        sentinel_kwargs={
            "username": settings.sentinel_username,
            "password": settings.sentinel_password,
            "ssl": talks_tls(settings, address),
            "socket_timeout": _ASK_A_SENTINEL_S,
            "socket_connect_timeout": _ASK_A_SENTINEL_S,
            "retry": no_retries(),
            "protocol": 2,
            **tls_options(settings, address),
        },
    )
