"""The private parts of redis-py that the driver uses: these tests fail if they change."""

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

from prism.adapters.redis.connection import close_nowait, parse_error, replace_protocol
from tests.servers.redis import RedisServer
from tests.servers.redis_topologies import SERVICE, RedisSentinel
from tests.servers.relay import TcpRelay

Make: TypeAlias = Callable[[], AbstractConnection]


class RecordingProtocol(asyncio.Protocol):
    """Records received data and the loss of the connection."""

    def __init__(self) -> None:
        self.data = b""
        self.received = asyncio.Event()
        self.lost = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self.data += data
        self.received.set()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()


@asynccontextmanager
async def replaced_protocol(
    connection: AbstractConnection,
) -> AsyncIterator[tuple[asyncio.Transport, RecordingProtocol]]:
    await connection.connect()  # type: ignore[no-untyped-call]
    protocol = RecordingProtocol()
    transport = await replace_protocol(connection, protocol)
    try:
        yield transport, protocol
    finally:
        close_nowait(connection)
        await protocol.lost.wait()
        assert not connection.is_connected


async def check_ping(connection: AbstractConnection) -> None:
    async with replaced_protocol(connection) as (transport, protocol):
        transport.write(b"*1\r\n$4\r\nPING\r\n")
        await protocol.received.wait()
        assert protocol.data == b"+PONG\r\n"


async def test_protocol_is_replaced(redis_server: RedisServer) -> None:
    await check_ping(Connection(host="127.0.0.1", port=redis_server.port))


async def test_protocol_is_replaced_after_database_and_client_name_are_set(
    redis_server: RedisServer,
) -> None:
    await check_ping(Connection(host="127.0.0.1", port=redis_server.port, db=3, client_name="name"))


async def test_protocol_is_replaced_on_tls(
    redis_server: RedisServer, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    async with TcpRelay(redis_server.port, tls=context) as relay:
        await check_ping(SSLConnection(host="localhost", port=relay.port, ssl_ca_certs=str(cert)))


async def test_protocol_is_replaced_on_a_connection_found_by_sentinels(
    redis_sentinel: RedisSentinel,
) -> None:
    hosts = [("127.0.0.1", sentinel.port) for sentinel in redis_sentinel.sentinels]
    sentinel = Sentinel(hosts)  # type: ignore[no-untyped-call]
    pool = SentinelConnectionPool(SERVICE, sentinel)  # type: ignore[no-untyped-call]
    await check_ping(pool.make_connection())  # type: ignore[no-untyped-call]
    await sentinel.aclose()


async def test_protocol_learns_that_the_connection_is_lost(own_server: RedisServer) -> None:
    connection = Connection(host="127.0.0.1", port=own_server.port)
    async with replaced_protocol(connection) as (_, protocol):
        with own_server.client() as client:
            client.client_kill_filter(skipme=True)
        await protocol.lost.wait()


async def test_connection_with_unread_data_is_refused(redis_server: RedisServer) -> None:
    connection = Connection(host="127.0.0.1", port=redis_server.port)
    await connection.connect()  # type: ignore[no-untyped-call]
    await connection.send_command("PING")
    while not await connection.can_read():
        await asyncio.sleep(0)
    with pytest.raises(redis.ConnectionError):
        await replace_protocol(connection, RecordingProtocol())
    await connection.disconnect()


def test_error_reply_becomes_the_exception_of_redis_py() -> None:
    assert isinstance(parse_error("NOSCRIPT No matching script."), NoScriptError)
    assert isinstance(parse_error("READONLY You can't write"), redis.ReadOnlyError)
    assert str(parse_error("MISCONF no disk")) == "MISCONF no disk"
