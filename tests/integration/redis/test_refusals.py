"""Servers that refuse: the error says why and what to do, and health says what callers can do."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager

import pytest

from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    Delete,
    Exhausted,
    HealthStatus,
    InvalidArgument,
    Outcome,
    PreconditionFailed,
    Put,
)
from prism.testing import Backend
from prism.testing.suite.timing import wait_until
from tests.integration.redis.conftest import Open
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.relay import TcpRelay

PROTECTED = b"-DENIED Redis is running in protected mode because protected mode is enabled.\r\n"


async def health_status(backend: Backend) -> HealthStatus:
    return (await backend.lifecycle.health()).status


@asynccontextmanager
async def scripted_server(greeting: bytes = b"", version: str = "") -> AsyncIterator[str]:
    """Serve a fake Redis on a port: it sends a greeting and closes, or tells its version."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(greeting)
        if not greeting:
            info = f"# Server\r\nredis_version:{version}\r\n".encode()
            while data := await reader.read(1 << 16):
                if b"CLIENT" in data:
                    writer.write(b"+OK\r\n" * data.count(b"CLIENT"))
                elif version and b"INFO" in data:
                    writer.write(b"$%d\r\n%s\r\n" % (len(info), info))
                else:
                    writer.write(
                        b"-ERR unknown command `PEXPIRETIME`, with args beginning with: \r\n"
                    )
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


@pytest.mark.parametrize("topology", ["redis", "redis+cluster"])
async def test_server_with_its_maximum_of_clients_says_so(open_redis: Open, topology: str) -> None:
    held: list[socket.socket] = []
    with RedisServer({"maxclients": "10"}) as server, ExitStack() as stack:
        # The server may still count the connection of the check that it answers.
        while len(held) < 10:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(b"PING\r\n")
            if client.recv(100) == b"+PONG\r\n":
                held.append(client)
        with pytest.raises(BackendUnavailable, match=r"maximum number of clients.*maxclients"):
            async with open_redis(f"{topology}://127.0.0.1:{server.port}"):
                pass


@pytest.mark.parametrize("topology", ["redis", "redis+cluster"])
async def test_protected_mode_is_reported_with_its_remedy(open_redis: Open, topology: str) -> None:
    async with scripted_server(greeting=PROTECTED) as url:
        with pytest.raises(AccessDenied, match=r"protected mode.*requirepass"):
            async with open_redis(url.replace("redis", topology).removesuffix("/0")):
                pass


async def test_database_that_does_not_exist_is_reported(
    open_redis: Open, redis_server: RedisServer
) -> None:
    with pytest.raises(InvalidArgument, match="has no database 99: name a lower one"):
        async with open_redis(f"redis://127.0.0.1:{redis_server.port}/99"):
            pass


async def test_replica_that_refuses_stale_reads_is_reported(open_redis: Open) -> None:
    lost = {"replicaof": f"127.0.0.1 {free_port()}", "replica-serve-stale-data": "no"}
    with (
        RedisServer(lost) as replica,
        pytest.raises(BackendUnavailable, match="replica-serve-stale-data to yes"),
    ):
        async with open_redis(replica.url):
            pass


async def test_health_fails_when_reads_fail(open_redis: Open, own_server: RedisServer) -> None:
    async with open_redis(own_server.url) as backend:
        assert await health_status(backend) is HealthStatus.HEALTHY
        own_server.ask("CONFIG", "SET", "replica-serve-stale-data", "no")
        own_server.ask("REPLICAOF", "127.0.0.1", free_port())
        health = await backend.lifecycle.health()
        assert health.status is HealthStatus.UNHEALTHY
        assert "refuses stale reads" in health.message


async def test_health_fails_on_a_read_only_replica(open_redis: Open) -> None:
    with RedisServer({"replicaof": f"127.0.0.1 {free_port()}"}) as replica:
        async with open_redis(replica.url) as backend:
            health = await backend.lifecycle.health()
            assert health.status is HealthStatus.UNHEALTHY
            assert "read-only replica" in health.message


async def test_health_is_degraded_while_the_server_refuses_writes(
    open_redis: Open, own_server: RedisServer
) -> None:
    async with open_redis(own_server.url) as backend:
        own_server.ask("CONFIG", "SET", "maxmemory", 1)
        assert await health_status(backend) is HealthStatus.DEGRADED
        own_server.ask("CONFIG", "SET", "maxmemory", 0)
        assert await health_status(backend) is HealthStatus.HEALTHY
        assert own_server.ask("DBSIZE") == 0


async def test_health_fails_when_a_new_connection_is_refused(
    open_redis: Open, own_server: RedisServer
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}") as backend,
    ):
        with own_server.client() as client:
            client.config_set("maxclients", 1)
            relay.abort_connections()

            async def refused() -> bool:
                return "maxclients" in (await backend.lifecycle.health()).message

            await wait_until(refused, "health says that the maximum of clients is reached")


@pytest.mark.parametrize("found", ["6.2.14", "6.3.4"])
async def test_server_that_is_too_old_is_refused_with_both_versions(
    open_redis: Open, found: str
) -> None:
    async with scripted_server(version=found) as url:
        with pytest.raises(PreconditionFailed, match=f"version {found}; Prism needs Redis 7.0"):
            async with open_redis(url):
                pass


async def test_server_that_hides_its_version_and_lacks_a_command_is_refused(
    open_redis: Open,
) -> None:
    async with scripted_server() as url:
        with pytest.raises(PreconditionFailed, match=r"`PEXPIRETIME`.*Redis 7\.0"):
            async with open_redis(url):
                pass


async def test_denial_in_a_script_names_the_command(
    open_redis: Open, own_server: RedisServer
) -> None:
    own_server.ask("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-set", "-incrby")
    async with open_redis(own_server.url, username="reader", password="word") as backend:
        for write, command in (
            (backend.kv.set("key", b"value"), "SET"),
            (backend.kv.increment("number"), "INCRBY"),
        ):
            with pytest.raises(AccessDenied, match=f"the command {command}:") as refusal:
                await write
            assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert await health_status(backend) is HealthStatus.HEALTHY


@pytest.mark.parametrize("command", ["SET", "DEL"])
async def test_a_transaction_with_a_command_that_is_denied_writes_nothing(
    open_redis: Open, own_server: RedisServer, command: str
) -> None:
    own_server.ask(
        "ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", f"-{command.lower()}", "-config"
    )
    own_server.ask("SET", "prism:old", "value")
    async with open_redis(own_server.url, username="reader", password="word") as backend:
        kv = backend.kv
        put, delete = Put("new", b"1"), Delete("old")
        for writes in ((put, delete), (delete, put)):
            with pytest.raises(AccessDenied, match=f"the command {command}:") as refusal:
                await kv.apply([], writes)
            assert refusal.value.outcome is Outcome.NOT_APPLIED
            assert (await kv.exists("old"), await kv.exists("new")) == (True, False)


async def test_a_transaction_without_memory_for_it_writes_nothing(
    open_redis: Open, own_server: RedisServer
) -> None:
    async with open_redis(own_server.url) as backend:
        kv = backend.kv
        await kv.set("old", b"value")
        own_server.ask("CONFIG", "SET", "maxmemory", 1)
        with pytest.raises(Exhausted) as refusal:
            await kv.apply([], [Put("new", b"1"), Delete("old")])
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        assert (await kv.exists("old"), await kv.exists("new")) == (True, False)


@pytest.mark.parametrize(
    "corruption",
    [
        pytest.param((b"\r\nEVALSHA\r\n", b"\r\nEVALSHX\r\n"), id="unknown command"),
        pytest.param((b"*5\r\n$7\r\nEVALSHA", b"*4\r\n$7\r\nEVALSHA"), id="shifted arguments"),
        pytest.param((b"\r\n$7\r\nEVALSHA", b"\r\n#7\r\nEVALSHA"), id="protocol error"),
    ],
)
async def test_error_after_a_corrupted_byte_leaves_outcomes_unknown(
    open_redis: Open, own_server: RedisServer, corruption: tuple[bytes, bytes]
) -> None:
    async with (
        TcpRelay(own_server.port) as relay,
        open_redis(f"redis://127.0.0.1:{relay.port}") as backend,
    ):
        await backend.kv.set("before", b"value")
        relay.corruption = corruption
        outcomes = await asyncio.gather(
            *(backend.kv.set(f"key {number}", b"value") for number in range(10)),
            return_exceptions=True,
        )
        failures = [each for each in outcomes if isinstance(each, BaseException)]
        assert failures
        for failure in failures:
            assert isinstance(failure, BackendUnavailable)
            assert failure.outcome is Outcome.UNKNOWN
        assert await backend.kv.exists("before") is True
