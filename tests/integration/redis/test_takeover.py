"""What Prism knows of the inside of redis-py: here it shows when that changes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias

import pytest
import redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.asyncio.sentinel import Sentinel, SentinelConnectionPool
from redis.exceptions import NoScriptError

from prism.adapters.redis.takeover import let_go, parse_refusal, take_over
from tests.servers.redis import RedisServer
from tests.servers.redis_topologies import SERVICE, RedisSentinel
from tests.servers.relay import Relay

Make: TypeAlias = Callable[[], AbstractConnection]


class Heard(asyncio.Protocol):
    """What came, and whether it ended."""

    def __init__(self) -> None:
        self.data = b""
        self.news = asyncio.Event()
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.news.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()


@asynccontextmanager
async def taken_over(
    connection: AbstractConnection,
) -> AsyncIterator[tuple[asyncio.Transport, Heard]]:
    await connection.connect()  # type: ignore[no-untyped-call]
    heard = Heard()
    transport = await take_over(connection, heard)
    try:
        yield transport, heard
    finally:
        let_go(connection)
        await heard.lost.wait()
        assert not connection.is_connected


async def check(connection: AbstractConnection) -> None:
    async with taken_over(connection) as (transport, heard):
        transport.write(b"*1\r\n$4\r\nPING\r\n")
        await heard.news.wait()
        assert heard.data == b"+PONG\r\n"


async def test_a_connection_is_taken_over(redis_server: RedisServer) -> None:
    await check(Connection(host="127.0.0.1", port=redis_server.port))


async def test_a_connection_with_a_database_and_a_name_is_taken_over(
    redis_server: RedisServer,
) -> None:
    await check(Connection(host="127.0.0.1", port=redis_server.port, db=3, client_name="name"))


async def test_a_tls_connection_is_taken_over(
    redis_server: RedisServer, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with Relay(redis_server.port, tls=context) as relay:
        await check(SSLConnection(host="localhost", port=relay.port, ssl_ca_certs=str(cert)))


async def test_a_connection_to_the_master_of_sentinels_is_taken_over(
    redis_sentinel: RedisSentinel,
) -> None:
    hosts = [("127.0.0.1", sentinel.port) for sentinel in redis_sentinel.sentinels]
    sentinel = Sentinel(hosts)  # type: ignore[no-untyped-call]
    pool = SentinelConnectionPool(SERVICE, sentinel)  # type: ignore[no-untyped-call]
    await check(pool.make_connection())  # type: ignore[no-untyped-call]
    await sentinel.aclose()


async def test_its_end_is_told_to_the_protocol(own_server: RedisServer) -> None:
    connection = Connection(host="127.0.0.1", port=own_server.port)
    async with taken_over(connection) as (_, heard):
        with own_server.client() as client:
            client.client_kill_filter(skipme=True)
        await heard.lost.wait()


async def test_a_connection_that_is_not_quiet_is_refused(redis_server: RedisServer) -> None:
    connection = Connection(host="127.0.0.1", port=redis_server.port)
    await connection.connect()  # type: ignore[no-untyped-call]
    await connection.send_command("PING")
    while not await connection.can_read():
        await asyncio.sleep(0)
    with pytest.raises(redis.ConnectionError):
        await take_over(connection, Heard())
    await connection.disconnect()


def test_an_error_of_the_server_has_a_class() -> None:
    assert isinstance(parse_refusal("NOSCRIPT No matching script."), NoScriptError)
    assert isinstance(parse_refusal("READONLY You can't write"), redis.ReadOnlyError)
    assert str(parse_refusal("MISCONF no disk")) == "MISCONF no disk"
