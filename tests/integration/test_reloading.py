"""Certificates and secrets that are replaced while a server runs."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
import redis.asyncio

import prism
from prism import TLS, connect_admin
from prism.ports import AccessDenied, BackendTimeout, BackendUnavailable, PrismError
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.conftest import TIMEOUT_S, ProxyServer, Server
from tests.servers.authority import Authority, replace_file
from tests.servers.redis import RedisServer

Start = Callable[..., Any]

_SET = "/prism.v1.KeyValueService/Set"


def served_certificate(address: str) -> str:
    host, _, port = address.rpartition(":")
    return ssl.get_server_certificate((host, int(port)), timeout=5)


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < deadline, "the condition was never true"
        await asyncio.sleep(0.05)


class Load:
    """Callers of several kinds, until they are stopped; each failure is kept.

    Attributes:
        done: number of calls that succeeded.
        failures: errors of the others.
    """

    def __init__(self) -> None:
        self.done = 0
        self.failures: list[str] = []
        self.stopped = False

    async def operations(self, kv: prism.Client, key: str) -> None:
        """Operations through the stream of one client."""
        number = 0
        while not self.stopped:
            number += 1
            try:
                await kv.set(key, b"%d" % number)
                entry = await kv.get(key)
                if entry is None or entry.value != b"%d" % number:
                    self.failures.append(f"{key} is {entry} after {number} was set")
            except PrismError as error:
                self.failures.append(f"stream: {error.message}")
            self.done += 1

    async def unary(self, channel: grpc.aio.Channel) -> None:
        """Unary calls over one connection of gRPC itself."""
        call: Any = channel.unary_unary(_SET)
        request = pb.SetRequest(key="unary", value=b"v").SerializeToString()
        while not self.stopped:
            try:
                await call(request, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                self.failures.append(f"unary: {error.details()}")
            self.done += 1

    async def connections(self, address: str, tls: TLS) -> None:
        """A new connection for each call."""
        while not self.stopped:
            try:
                async with prism.connect(address, tls=tls) as kv:
                    await kv.set("connection", b"v")
            except PrismError as error:
                self.failures.append(f"connection: {error.message}")
            self.done += 1


@asynccontextmanager
async def loaded(
    address: str, tls: TLS, roots: bytes, identity: tuple[bytes, bytes]
) -> AsyncIterator[Load]:
    """Callers that trust the roots, and show the identity."""
    load = Load()
    cert, key = identity
    credentials = grpc.ssl_channel_credentials(roots, key, cert)
    async with (
        prism.connect(address, tls=tls) as kv,
        grpc.aio.secure_channel(address, credentials) as channel,
        asyncio.TaskGroup() as tasks,
    ):
        for number in range(8):
            tasks.create_task(load.operations(kv, f"key {number}"))
        for _ in range(4):
            tasks.create_task(load.unary(channel))
        for _ in range(2):
            tasks.create_task(load.connections(address, tls))
        try:
            yield load
        finally:
            load.stopped = True


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_certificates_are_replaced_under_load_and_no_call_is_lost(
    start_server: Start, tmp_path: Path, transport: str
) -> None:
    old, new = Authority("old"), Authority("new")
    cert, key = old.write(tmp_path, "server")
    first = cert.read_bytes()
    client_cert, client_key = old.write(tmp_path, "client")
    client_ca, roots = tmp_path / "client-ca.pem", tmp_path / "roots.pem"
    client_ca.write_bytes(old.pem + new.pem)
    roots.write_bytes(old.pem + new.pem)
    server = start_server(
        *("--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(client_ca)),
        *("--transport", transport),
    ).serving()
    tls = TLS(ca=roots, cert=client_cert, key=client_key)

    async def replaced(times: int) -> None:
        began, done = time.monotonic(), load.done
        await until(lambda: server.log.count("the TLS files have changed") == times)
        assert time.monotonic() - began < 10
        await until(lambda: load.done > done + 200)

    async with (
        loaded(server.address, tls, roots.read_bytes(), new.issue("other")) as load,
        prism.connect(server.address, tls=tls) as kv,
        kv.watch("watched") as events,
    ):
        await until(lambda: load.done > 200)
        new.write(tmp_path, "server")
        await replaced(1)
        assert served_certificate(server.address).encode() == cert.read_bytes() != first
        # Now the client's certificate, and then the authority of the old one goes.
        new.write(tmp_path, "client")
        replace_file(client_ca, new.pem)
        await replaced(2)
        # Its connection began before all this.
        await kv.set("watched", b"v")
        assert (await anext(events)).key == "watched"
    assert load.failures == []
    old_cert, old_key = old.write(tmp_path, "old-client")
    with pytest.raises((BackendUnavailable, BackendTimeout)):
        async with prism.connect(server.address, tls=TLS(ca=roots, cert=old_cert, key=old_key)):
            pass


async def test_certificates_are_replaced_under_redis_clients(
    start_server: Start, tmp_path: Path
) -> None:
    old, new = Authority("old"), Authority("new")
    cert, key = old.write(tmp_path, "server")
    roots = tmp_path / "roots.pem"
    roots.write_bytes(old.pem + new.pem)
    files = ("--tls-cert", str(cert), "--tls-key", str(key))
    server = start_server(*files, "--resp-port", "0").serving()
    host, _, port = server.redis_address.rpartition(":")
    load = Load()

    def client() -> Any:
        trust: Any = {"ssl": True, "ssl_ca_certs": str(roots)}
        return redis.asyncio.Redis(
            host=host, port=int(port), single_connection_client=True, **trust
        )

    async def commands(kept: Any) -> None:
        while not load.stopped:
            try:
                await kept.set("k", b"v")
                async with client() as another:
                    assert await another.get("k") == b"v"
            except redis.RedisError as error:
                load.failures.append(str(error))
            load.done += 1

    async with client() as kept, asyncio.TaskGroup() as tasks:
        identity = await kept.client_id()
        running = tasks.create_task(commands(kept))
        await until(lambda: load.done > 5)
        new.write(tmp_path, "server")
        await asyncio.to_thread(server.wait_for, "the TLS files have changed")
        done = load.done
        await until(lambda: load.done > done + 5)
        load.stopped = True
        await running
        assert load.failures == []
        assert await kept.client_id() == identity
    assert served_certificate(server.redis_address).encode() == cert.read_bytes()


async def test_a_file_that_cannot_be_used_is_logged_once_and_the_old_one_stays(
    start_server: Start, tmp_path: Path
) -> None:
    authority = Authority("ours")
    cert, key = authority.write(tmp_path, "server")
    first = cert.read_bytes()
    server = start_server("--tls-cert", str(cert), "--tls-key", str(key)).serving()
    other_cert, other_key = authority.issue("server")
    replace_file(cert, other_cert)
    event = await asyncio.to_thread(server.wait_for, "the TLS certificate")
    assert event["level"] == "warning"
    assert "do not belong together" in event["message"]
    assert event["message"].endswith("what was loaded before stays in use")
    for _ in range(2):
        server.signal(signal.SIGHUP)
        await asyncio.to_thread(server.wait_for, "SIGHUP")
    assert served_certificate(server.address).encode() == first
    # The key that belongs to it arrives later.
    replace_file(key, other_key)
    await asyncio.to_thread(server.wait_for, "the TLS files have changed")
    assert served_certificate(server.address).encode() == other_cert
    assert server.log.count("do not belong together") == 1


async def test_a_folder_that_kubernetes_replaces_is_noticed(
    start_server: Start, tmp_path: Path
) -> None:
    authority = Authority("ours")
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        authority.write(tmp_path / name, "tls")
        # The times and sizes of the files in both folders may be equal.
        for file in (tmp_path / name).iterdir():
            os.utime(file, (0, 0))
    data = tmp_path / "..data"
    data.symlink_to("first")
    (tmp_path / "tls.crt").symlink_to("..data/tls.pem")
    (tmp_path / "tls.key").symlink_to("..data/tls.key")
    server = start_server(
        *("--tls-cert", str(tmp_path / "tls.crt"), "--tls-key", str(tmp_path / "tls.key"))
    ).serving()
    new = tmp_path / "..data_tmp"
    new.symlink_to("second")
    new.rename(data)
    await asyncio.to_thread(server.wait_for, "the TLS files have changed")
    second = (tmp_path / "second" / "tls.pem").read_text()
    assert served_certificate(server.address) == second


async def test_a_server_ends_while_calls_are_open_on_a_connection_with_an_old_certificate(
    start_server: Start, tmp_path: Path
) -> None:
    authority = Authority("ours")
    cert, key = authority.write(tmp_path, "server")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    server = start_server("--tls-cert", str(cert), "--tls-key", str(key)).serving()
    async with prism.connect(server.address, tls=TLS(ca=ca)) as kv, kv.watch() as events:
        authority.write(tmp_path, "server")
        await asyncio.to_thread(server.wait_for, "the TLS files have changed")
        server.signal(signal.SIGTERM)
        with pytest.raises(PrismError, match="draining"):
            await anext(events)
        assert await asyncio.to_thread(server.wait) == 0


async def test_another_admin_token_is_expected_once_its_file_has_it(
    start_server: Start, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    token.chmod(0o600)
    server = start_server("--admin-token-file", str(token)).serving()
    replace_file(token, b"\xef\xbb\xbfsecond\r\n")
    await asyncio.to_thread(server.wait_for, "the admin token has changed")
    async with connect_admin(server.address, admin_token="second") as admin:
        await admin.lifecycle.state()
    async with connect_admin(server.address, admin_token="first") as admin:
        with pytest.raises(AccessDenied):
            await admin.lifecycle.state()
    replace_file(token, b"")
    event = await asyncio.to_thread(server.wait_for, "admin_token")
    assert "is empty" in event["message"]
    async with connect_admin(server.address, admin_token="second") as admin:
        await admin.lifecycle.state()
    assert not any("second" in json.loads(line)["message"] for line in server.lines)


def _change_password(server: RedisServer, before: str, after: str) -> None:
    with redis.Redis(port=server.port, password=before) as client:
        client.config_set("requirepass", after)


def _drop_connections(server: RedisServer, password: str) -> None:
    with redis.Redis(port=server.port, password=password) as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")


async def _set(kv: prism.Client, key: str) -> None:
    """Set a key; the connection to the backend may just have broken."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            await kv.set(key, b"v")
        except PrismError:
            assert time.monotonic() < deadline, "the backend is never reached"
            await asyncio.sleep(0.05)
        else:
            return


@pytest.mark.parametrize("kind", [Server, ProxyServer])
async def test_another_password_of_the_backend_is_used_for_its_next_connections(
    start_server: Start, tmp_path: Path, kind: type[Server]
) -> None:
    password = tmp_path / "password"
    password.write_text("the first password")
    password.chmod(0o600)
    with RedisServer({"requirepass": "the first password"}) as backend:
        name = "cache" if kind is ProxyServer else "redis"
        which = ("--pattern", "cache=redis") if kind is ProxyServer else ("--driver", "redis")
        server = start_server(
            *(*which, f"--{name}-url", backend.url, f"--{name}-password-file", str(password)),
            kind=kind,
        ).serving()
        async with prism.connect(server.address) as kv:
            await kv.set("before", b"v")
            _change_password(backend, "the first password", "the second password")
            replace_file(password, b"the second password\n")
            await asyncio.to_thread(server.wait_for, "the secrets of the")
            _drop_connections(backend, "the second password")
            await _set(kv, "after")
            entry = await kv.get("before")
            assert entry is not None
    assert "second password" not in server.log
