"""Opening the driver: errors, credentials, TLS, and servers with unusual settings."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
from dataclasses import replace
from pathlib import Path

import pytest

from prism.adapters.redis.driver import Redis
from prism.adapters.redis.settings import RedisSettings
from prism.ports import (
    AccessDenied,
    BackendTimeout,
    BackendUnavailable,
    Capability,
    Exhausted,
    InvalidArgument,
    Outcome,
    PrismError,
    Unauthenticated,
    Unsupported,
)
from tests.integration.redis.conftest import Open
from tests.servers.authority import Authority
from tests.servers.process import free_port
from tests.servers.redis import RedisServer
from tests.servers.relay import TcpRelay

SECRET = "hunter2"


class TrustOf:
    """TLS of a server whose certificate, and those of its clients, are of an authority.

    Attributes:
        context: for the server.
    """

    def __init__(self, authority: Authority, folder: Path) -> None:
        self._server = authority.write(folder, "server")
        self.context = self._trusting(authority)
        self._next = self.context
        self.context.sni_callback = self._choose

    def clients_of(self, authority: Authority) -> None:
        """Accept only certificates of another authority from the next client on."""
        self._next = self._trusting(authority)

    def _choose(
        self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        connection.context = self._next

    def _trusting(self, authority: Authority) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self._server)
        context.load_verify_locations(cadata=authority.pem.decode())
        context.verify_mode = ssl.CERT_REQUIRED
        return context


@pytest.mark.parametrize("form", ["redis://{}", "redis+cluster://{}", "redis+sentinel://{}/prism"])
async def test_error_for_an_unreachable_server_names_it_without_credentials(
    open_redis: Open, form: str
) -> None:
    host = f"127.0.0.1:{free_port()}"
    url = form.format(f"anna:{SECRET}@{host}")
    with pytest.raises(BackendUnavailable) as failure:
        async with open_redis(url):
            pass
    assert host in failure.value.message
    assert SECRET not in failure.value.message
    assert "anna" not in failure.value.message


async def test_server_of_another_protocol_is_reported(open_redis: Open) -> None:
    async def talk_http(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(talk_http, "127.0.0.1", 0) as other:
        port = other.sockets[0].getsockname()[1]
        with pytest.raises(BackendUnavailable, match=f"{port} does not speak the Redis protocol"):
            async with open_redis(f"redis://127.0.0.1:{port}"):
                pass


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:6379",
        f"http://anna:{SECRET}@127.0.0.1",
        f"redis://anna:{SECRET}@",
        f"redis://anna:{SECRET}@127.0.0.1:port",
        f"redis://anna:{SECRET}@127.0.0.1/name",
        f"redis://anna:{SECRET}@127.0.0.1?db=1",
        f"redis://anna:{SECRET}@one,two",
        f"redis+sentinel://anna:{SECRET}@127.0.0.1",
        f"redis+cluster://anna:{SECRET}@127.0.0.1/1",
    ],
)
async def test_error_for_an_invalid_url_has_no_credentials(open_redis: Open, url: str) -> None:
    with pytest.raises(InvalidArgument) as refusal:
        async with open_redis(url):
            pass
    assert SECRET not in refusal.value.message


async def test_server_that_is_not_a_cluster_is_reported(
    open_redis: Open, redis_server: RedisServer
) -> None:
    with pytest.raises(InvalidArgument, match="is not a cluster"):
        async with open_redis(f"redis+cluster://127.0.0.1:{redis_server.port}"):
            pass


async def test_opening_on_a_hanging_server_times_out(
    open_redis: Open, own_server: RedisServer
) -> None:
    await own_server.pause()
    with pytest.raises(PrismError, match=str(own_server.port)):
        async with open_redis(own_server.url, timeout="200ms"):
            pass


async def test_password_is_required_and_accepted(open_redis: Open) -> None:
    with RedisServer({"requirepass": SECRET}) as server:
        for settings in ({}, {"password": "wrong"}):
            with pytest.raises(Unauthenticated) as refusal:
                async with open_redis(server.url, **settings):
                    pass
            assert "wrong" not in refusal.value.message
        async with open_redis(server.url, password=SECRET) as backend:
            await backend.kv.set("key", b"value")
        async with open_redis(f"redis://:{SECRET}@127.0.0.1:{server.port}") as backend:
            assert await backend.kv.exists("key") is True
            assert SECRET not in str(await backend.lifecycle.health())


async def test_acl_of_the_user_is_respected(open_redis: Open, own_server: RedisServer) -> None:
    own_server.ask("ACL", "SETUSER", "reader", "on", ">word", "~*", "+@all", "-set", "-config")
    async with open_redis(own_server.url, username="reader", password="word") as backend:
        assert await backend.kv.exists("key") is False
        with pytest.raises(AccessDenied) as refusal:
            await backend.kv.set("key", b"value")
        assert refusal.value.outcome is Outcome.NOT_APPLIED
        # Without CONFIG GET the driver cannot know whether the server sends notifications.
        assert Capability.WATCH not in backend.profile.capabilities
        assert "CONFIG GET" in backend.profile.hints[Capability.WATCH]


async def test_watch_is_declared_if_the_server_sends_notifications(
    open_redis: Open, own_server: RedisServer
) -> None:
    own_server.ask("CONFIG", "SET", "notify-keyspace-events", "Kx")
    async with open_redis(own_server.url) as backend:
        assert Capability.WATCH not in backend.profile.capabilities
        health = await backend.lifecycle.health()
        assert "notify-keyspace-events" in health.details["watch"]
        with pytest.raises(Unsupported, match="set notify-keyspace-events to KEA"):
            async with backend.kv.watch():
                pass
    own_server.ask("CONFIG", "SET", "notify-keyspace-events", "Kg$xe")
    async with open_redis(own_server.url) as backend:
        assert Capability.WATCH in backend.profile.capabilities


async def test_eviction_policy_is_logged_as_a_warning(
    open_redis: Open, own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "prism.adapters.redis"):
        async with open_redis(own_server.url):
            assert caplog.messages == []
        own_server.ask("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        async with open_redis(own_server.url):
            (message,) = caplog.messages
    assert "allkeys-lru" in message
    assert str(own_server.port) in message


async def test_full_server_refuses_writes_and_serves_reads(
    open_redis: Open, own_server: RedisServer
) -> None:
    async with open_redis(own_server.url) as backend:
        await backend.kv.set("key", b"value")
        own_server.ask("CONFIG", "SET", "maxmemory", 1)
        for write in (
            backend.kv.set("key", b"other"),
            backend.kv.increment("number"),
            backend.kv.compare_and_set("new", b"value", expected=None),
        ):
            with pytest.raises(Exhausted) as refusal:
                await write
            assert refusal.value.outcome is Outcome.NOT_APPLIED
        entry = await backend.kv.get("key")
        assert entry is not None
        assert entry.value == b"value"
        assert await backend.kv.delete("key") is True


async def test_database_in_the_url_is_used(open_redis: Open, redis_server: RedisServer) -> None:
    async with open_redis(f"redis://127.0.0.1:{redis_server.port}/3") as backend:
        await backend.kv.set("key", b"value")
        async with backend.kv.watch("key") as events:
            await backend.kv.delete("key")
            assert (await anext(events)).key == "key"


async def test_mutual_tls(
    open_redis: Open, redis_server: RedisServer, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    context.load_verify_locations(cert)
    context.verify_mode = ssl.CERT_REQUIRED
    async with TcpRelay(redis_server.port, tls=context) as relay:
        client = {"tls_cert": str(cert), "tls_key": str(key)}
        async with open_redis(
            f"rediss://localhost:{relay.port}", tls_ca=str(cert), **client
        ) as backend:
            await backend.kv.set("key", b"value")
        async with open_redis(
            f"redis://localhost:{relay.port}", tls="true", tls_ca=str(cert), **client
        ) as backend:
            assert await backend.kv.exists("key") is True
        with pytest.raises(BackendUnavailable):
            async with open_redis(f"rediss://localhost:{relay.port}", **client):
                pass


async def test_another_client_certificate_is_shown_to_the_next_connection(
    open_redis: Open, redis_server: RedisServer, tmp_path: Path
) -> None:
    old, new = Authority("old"), Authority("new")
    cert, key = old.write(tmp_path, "client", password="secret")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(old.pem)
    trust = TrustOf(old, tmp_path)
    async with (
        TcpRelay(redis_server.port, tls=trust.context) as relay,
        open_redis(
            f"rediss://localhost:{relay.port}",
            tls_ca=str(ca),
            tls_cert=str(cert),
            tls_key=str(key),
            tls_key_password="secret",
        ) as backend,
    ):
        await backend.kv.set("key", b"value")
        new.write(tmp_path, "client", password="secret")
        trust.clients_of(new)
        relay.abort_connections()
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(BackendUnavailable):
                    assert await backend.kv.exists("key") is True
                    break
                await asyncio.sleep(0.05)


async def test_changed_secrets_are_used_for_the_next_connection(
    own_server: RedisServer, tmp_path: Path
) -> None:
    old, new = Authority("old"), Authority("new")
    cert, key = old.write(tmp_path, "client", password="first secret")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(old.pem)
    trust = TrustOf(old, tmp_path)
    with own_server.client() as admin:
        admin.config_set("requirepass", "first")
        async with TcpRelay(own_server.port, tls=trust.context) as relay:
            settings = RedisSettings(
                url=f"rediss://localhost:{relay.port}",
                password="first",
                tls_ca=ca,
                tls_cert=cert,
                tls_key=key,
                tls_key_password="first secret",
            )
            driver = Redis()
            await driver.initialize(settings)
            try:
                await driver.set("key", b"value")
                with pytest.raises(InvalidArgument, match="restart the server"):
                    await driver.reload(replace(settings, url="rediss://localhost:1"))
                admin.config_set("requirepass", "second")
                new.write(tmp_path, "client", password="second secret")
                trust.clients_of(new)
                changed = replace(settings, password="second", tls_key_password="second secret")
                await driver.reload(changed)
                relay.abort_connections()
                async with asyncio.timeout(30):
                    while True:
                        with contextlib.suppress(BackendUnavailable):
                            assert await driver.exists("key")
                            break
                        await asyncio.sleep(0.05)
            finally:
                await driver.stop()


async def test_server_without_tls_is_reported(
    open_redis: Open, redis_server: RedisServer, certificate: tuple[Path, Path]
) -> None:
    url = f"rediss://localhost:{redis_server.port}"
    with pytest.raises(BackendTimeout, match="does it speak TLS"):
        async with open_redis(url, tls_ca=str(certificate[0]), timeout="200ms"):
            pass


async def test_server_that_is_no_sentinel_is_reported(
    open_redis: Open, redis_server: RedisServer
) -> None:
    with pytest.raises(InvalidArgument, match="a server there is no sentinel"):
        async with open_redis(f"redis+sentinel://127.0.0.1:{redis_server.port}/main"):
            pass


async def test_tls_files_without_tls_are_refused(
    open_redis: Open, redis_server: RedisServer, certificate: tuple[Path, Path]
) -> None:
    with pytest.raises(InvalidArgument, match="TLS is off"):
        async with open_redis(redis_server.url, tls_ca=str(certificate[0])):
            pass
