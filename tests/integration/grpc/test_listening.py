"""Addresses, TLS and access to a server."""

from __future__ import annotations

import asyncio
import socket
import stat
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

import prism
from prism.adapters.client import connect_admin
from prism.adapters.grpc.transports.tls import ServerTls
from prism.adapters.remote import Remote, RemoteSettings
from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    HealthStatus,
    InvalidArgument,
    PreconditionFailed,
    State,
    Unauthenticated,
)
from tests.integration.conftest import serving_status


async def test_error_for_a_taken_port_names_the_port(serve: Any) -> None:
    first = await serve()
    port = int(first.address.rpartition(":")[2])
    with pytest.raises(PreconditionFailed, match=f"port {port} on 127.0.0.1 is taken"):
        await serve(port=port)
    assert await serving_status(first.address) == "SERVING"


async def test_unix_socket_is_accessible_to_its_owner_only(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "prism.sock"
    served = await serve(socket=path)
    assert served.address == f"unix:{path}"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with prism.connect(served.address) as kv:
        await kv.set("k", b"v")
        entry = await kv.get("k")
    assert entry is not None
    assert entry.value == b"v"


async def test_unix_socket_in_use_is_not_taken_over(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "prism.sock"
    served = await serve(socket=path)
    with pytest.raises(PreconditionFailed, match="another process serves on it"):
        await serve(socket=path)
    assert await serving_status(served.address) == "SERVING"


async def test_unix_socket_left_by_a_dead_server_is_replaced(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "prism.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    served = await serve(socket=path)
    assert await serving_status(served.address) == "SERVING"


async def test_file_at_the_path_of_a_socket_is_kept(serve: Any, tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    with pytest.raises(PreconditionFailed, match="is not a socket"):
        await serve(socket=path)
    assert path.read_text() == "precious"


async def test_server_with_tls_refuses_plain_text(serve: Any, certificates: Path) -> None:
    tls = ServerTls(certificates / "server.pem", certificates / "server.key")
    served = await serve(tls=tls)
    async with prism.connect(served.address, tls=prism.TLS(ca=certificates / "ca.pem")) as kv:
        await kv.set("k", b"v")
    with pytest.raises(BackendUnavailable):
        async with prism.connect(served.address):
            pass


async def test_mutual_tls_requires_a_client_certificate(serve: Any, certificates: Path) -> None:
    ca = certificates / "ca.pem"
    tls = ServerTls(certificates / "server.pem", certificates / "server.key", client_ca=ca)
    served = await serve(tls=tls)
    ours = prism.TLS(ca=ca, cert=certificates / "client.pem", key=certificates / "client.key")
    async with prism.connect(served.address, tls=ours) as kv:
        await kv.set("k", b"v")
    with pytest.raises(BackendUnavailable):
        async with prism.connect(served.address, tls=prism.TLS(ca=ca)):
            pass


@pytest.mark.parametrize(
    ("cert", "key", "says"),
    [
        ("absent.pem", "server.key", "absent.pem cannot be read"),
        ("server.pem", "client.key", "do not belong together"),
        ("server.key", "server.key", "server.key holds no certificate in PEM"),
        ("server.pem", "server.pem", "server.pem holds no private key in PEM"),
        (".", "server.key", "cannot be read: Is a directory"),
    ],
)
async def test_error_names_the_tls_file_that_cannot_be_used(
    serve: Any, certificates: Path, cert: str, key: str, says: str
) -> None:
    with pytest.raises(InvalidArgument, match=says):
        await serve(tls=ServerTls(certificates / cert, certificates / key))


async def test_lifecycle_calls_beyond_loopback_are_refused_without_a_token(serve: Any) -> None:
    served = await serve(host="0.0.0.0")
    address = served.address.replace("0.0.0.0", "127.0.0.1")
    async with connect_admin(address) as admin:
        with pytest.raises(AccessDenied, match="--admin-token-file"):
            await admin.lifecycle.stop()
    async with prism.connect(address) as kv:
        await kv.set("k", b"v")
    assert served.lifecycle.current is State.RUNNING


async def test_lifecycle_calls_require_the_admin_token(serve: Any) -> None:
    served = await serve(host="0.0.0.0", admin_token="right")
    address = served.address.replace("0.0.0.0", "127.0.0.1")
    async with connect_admin(address) as admin:
        with pytest.raises(Unauthenticated):
            await admin.lifecycle.drain()
    async with connect_admin(address, admin_token="wrong") as admin:
        with pytest.raises(AccessDenied, match="token is wrong") as denied:
            await admin.lifecycle.drain()
        assert "right" not in denied.value.message
    async with connect_admin(address, admin_token="right") as admin:
        assert await admin.lifecycle.state() is State.RUNNING


async def test_standard_health_service_reports_readiness(serve: Any) -> None:
    served = await serve()
    channel: Any
    async with grpc.aio.insecure_channel(served.address) as channel:
        watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        seen = []
        async with asyncio.timeout(30):
            async for message in watch:
                seen.append(health_pb2.HealthCheckResponse.FromString(message).status)
                if seen[-1] == health_pb2.HealthCheckResponse.SERVING:
                    served.readiness.withdraw("shutting down")
                if seen[-2:] == [
                    health_pb2.HealthCheckResponse.SERVING,
                    health_pb2.HealthCheckResponse.NOT_SERVING,
                ]:
                    break


async def list_services(address: str) -> grpc.StatusCode:
    channel: Any
    async with grpc.aio.insecure_channel(address) as channel:
        ask = reflection_pb2.ServerReflectionRequest(
            file_containing_symbol="prism.v1.KeyValueService"
        )
        call = channel.unary_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
        )(ask.SerializeToString())
        try:
            async for message in call:
                reply = reflection_pb2.ServerReflectionResponse.FromString(message)
                found = reply.file_descriptor_response.file_descriptor_proto
                assert FileDescriptorProto.FromString(found[0]).package == "prism.v1"
        except grpc.aio.AioRpcError:
            pass
        code: grpc.StatusCode = await call.code()
        return code


async def test_reflection_describes_the_api_unless_disabled(serve: Any) -> None:
    on = await serve()
    assert await list_services(on.address) is grpc.StatusCode.OK
    off = await serve(reflection=False)
    assert await list_services(off.address) is grpc.StatusCode.UNIMPLEMENTED


@pytest.mark.parametrize("address", ["", "localhost", "host:port", "host:99999", "unix:"])
async def test_invalid_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="address"):
        async with prism.connect(address):
            pass


async def test_error_without_a_server_names_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(BackendUnavailable, match=address):
            async with prism.connect(address):
                pass


async def test_health_of_the_remote_driver_is_that_of_its_server(serve: Any) -> None:
    served = await serve()
    driver = Remote()
    await driver.initialize(RemoteSettings(address=served.address))
    try:
        assert (await driver.health()).status is HealthStatus.HEALTHY
        await served.lifecycle.drain()
        health = await driver.health()
        assert health.status is HealthStatus.UNHEALTHY
        assert "NOT_SERVING" in health.message
        await served.server.stop()
        health = await driver.health()
        assert health.status is HealthStatus.UNHEALTHY
        assert served.address in health.details["last_error"]
    finally:
        await driver.stop()


@pytest.mark.parametrize("file", ["names", "absent.pem"])
async def test_error_names_the_tls_file_of_a_client_that_cannot_be_used(
    certificates: Path, file: str
) -> None:
    with pytest.raises(InvalidArgument, match=file):
        async with prism.connect("127.0.0.1:1", tls=prism.TLS(ca=certificates / file)):
            pass


async def test_timeout_of_centuries_does_not_expire_at_once(serve: Any) -> None:
    served = await serve()
    async with prism.connect(served.address, timeout=timedelta(days=300_000)) as kv:
        assert await kv.get("k") is None
