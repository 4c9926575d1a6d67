"""Opening the driver: servers that cannot be used, credentials, TLS, and existing buckets."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from nats.js import JetStreamContext
from nats.js.api import KeyValueConfig, RePublish, StorageType

from prism.adapters.nats.driver import Nats
from prism.adapters.nats.settings import NatsSettings
from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    Exhausted,
    InvalidArgument,
    Outcome,
    PreconditionFailed,
    PrismError,
    Unauthenticated,
)
from tests.integration.nats.conftest import Open
from tests.servers.authority import Authority
from tests.servers.nats import NatsServer
from tests.servers.process import free_port

SECRET = "hunter2"

UNFIT: dict[str, tuple[dict[str, Any], str]] = {
    "several values of a key": ({"history": 5}, "keeps 5 values"),
    "a ttl for all": ({"ttl": 60.0}, "ttl of its own"),
    "kept elsewhere": ({"storage": StorageType.MEMORY}, "storage memory"),
    "republished": (
        {"republish": RePublish(src=">", dest="elsewhere.>")},
        "republishes to another subject",
    ),
}


async def test_missing_server_is_named_without_credentials(open_nats: Open) -> None:
    port = free_port()
    with pytest.raises(BackendUnavailable) as failure:
        async with open_nats(f"nats://anna:{SECRET}@127.0.0.1:{port}"):
            pass
    assert failure.value.message == (
        f"the NATS server at 127.0.0.1:{port} cannot be reached: "
        "it refuses connections; is it running?"
    )
    assert SECRET not in failure.value.message
    assert "anna" not in failure.value.message


async def test_connecting_to_a_hanging_server_times_out(
    open_nats: Open, own_server: NatsServer
) -> None:
    await own_server.pause()
    with pytest.raises(BackendUnavailable, match=r"no answer within 0\.2 s"):
        async with open_nats(own_server.url, connect_timeout="200ms"):
            pass


async def test_server_without_jetstream_is_refused(open_nats: Open) -> None:
    with (
        NatsServer({"jetstream": None}) as server,
        pytest.raises(PreconditionFailed, match="JetStream is not enabled"),
    ):
        async with open_nats(server.url):
            pass


@pytest.mark.parametrize("found", ["2.10.29", "2.11.0", "2.11.1"])
async def test_server_that_is_too_old_is_refused(open_nats: Open, found: str) -> None:
    gone = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        info = {"version": found, "headers": True, "max_payload": 1048576}
        writer.write(f"INFO {json.dumps(info)}\r\n".encode())
        writer.write(b"PONG\r\n")
        await reader.read()
        writer.close()
        gone.set()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        with pytest.raises(PreconditionFailed, match=rf"{found}; Prism needs 2\.11\.2"):
            async with open_nats(f"nats://127.0.0.1:{port}"):
                pass
        await gone.wait()


@pytest.mark.parametrize("settings", [{}, {"user": "anna", "password": "wrong"}])
async def test_wrong_credentials_are_unauthenticated(
    open_nats: Open, settings: dict[str, str]
) -> None:
    with NatsServer({"authorization": {"user": "anna", "password": SECRET}}) as server:
        with pytest.raises(Unauthenticated) as refusal:
            async with open_nats(server.url, **settings):
                pass
        assert "wrong" not in refusal.value.message
        async with open_nats(server.url, user="anna", password=SECRET) as backend:
            await backend.kv.set("key", b"value")
        async with open_nats(f"nats://anna:{SECRET}@127.0.0.1:{server.port}") as backend:
            assert await backend.kv.exists("key") is True
            assert SECRET not in str(await backend.lifecycle.health())


@pytest.mark.parametrize("password", ["p@s:s/w%rd#?x", "100%", "+ ,"])
async def test_credentials_in_a_url_are_decoded(open_nats: Open, password: str) -> None:
    with NatsServer({"authorization": {"user": "an:na", "password": password}}) as server:
        url = f"nats://{quote('an:na')}:{quote(password, safe='')}@127.0.0.1:{server.port}"
        async with open_nats(url) as backend:
            await backend.kv.set("key", b"value")


async def test_token_in_a_url_is_decoded(open_nats: Open) -> None:
    with NatsServer({"authorization": {"token": "to/k%en"}}) as server:
        async with open_nats(f"nats://to%2Fk%25en@127.0.0.1:{server.port}") as backend:
            await backend.kv.set("key", b"value")


async def test_token_in_the_settings_is_used(open_nats: Open) -> None:
    with NatsServer({"authorization": {"token": SECRET}}) as server:
        async with open_nats(server.url, token=SECRET) as backend:
            await backend.kv.set("key", b"value")


async def test_missing_permission_is_access_denied(open_nats: Open) -> None:
    reader = {"user": "reader", "password": "word"}
    writer = {"user": "writer", "password": "word"}
    rules = [{**reader, "permissions": {"publish": ["$JS.API.>"], "subscribe": ">"}}, writer]
    with NatsServer({"authorization": {"users": rules}}) as server:
        async with open_nats(server.url, **writer) as backend:
            await backend.kv.set("key", b"value")
        async with open_nats(server.url, **reader) as backend:
            assert await backend.kv.exists("key") is True
            with pytest.raises(AccessDenied) as refusal:
                await backend.kv.set("key", b"other")
            assert refusal.value.outcome is Outcome.NOT_APPLIED


async def test_mutual_tls(open_nats: Open, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    tls = {"cert_file": str(cert), "key_file": str(key), "ca_file": str(cert), "verify": True}
    ours = {"tls_cert": str(cert), "tls_key": str(key)}
    with NatsServer({"tls": tls}) as server:
        url = f"tls://localhost:{server.port}"
        async with open_nats(url, tls_ca=str(cert), **ours) as backend:
            await backend.kv.set("key", b"value")
        with pytest.raises(BackendUnavailable, match="certificate"):
            async with open_nats(url, **ours):
                pass


async def test_changed_secrets_are_used_for_the_next_connection(tmp_path: Path) -> None:
    authority = Authority("ours")
    ca = tmp_path / "ca.pem"
    ca.write_bytes(authority.pem)
    cert, key = authority.write(tmp_path, "server")
    client_cert, client_key = authority.write(tmp_path, "client", password="first secret")
    tls = {"cert_file": str(cert), "key_file": str(key), "ca_file": str(ca), "verify": True}
    authorization = {"user": "anna", "password": "first"}
    with NatsServer({"tls": tls, "authorization": authorization}) as server:
        settings = NatsSettings(
            url=f"tls://localhost:{server.port}",
            user="anna",
            password="first",
            tls_ca=ca,
            tls_cert=client_cert,
            tls_key=client_key,
            tls_key_password="first secret",
        )
        driver = Nats()
        await driver.initialize(settings)
        try:
            await driver.set("key", b"value")
            with pytest.raises(InvalidArgument, match="restart the server"):
                await driver.reload(replace(settings, url="tls://localhost:1"))
            authorization["password"] = "second"
            authority.write(tmp_path, "client", password="second secret")
            changed = replace(settings, password="second", tls_key_password="second secret")
            await driver.reload(changed)
            await server.kill()
            await server.start()
            async with asyncio.timeout(30):
                while True:
                    with contextlib.suppress(BackendUnavailable):
                        assert await driver.exists("key")
                        break
                    await asyncio.sleep(0.05)
        finally:
            await driver.stop()


async def test_server_without_tls_gets_no_password(
    open_nats: Open, nats_server: NatsServer
) -> None:
    url = f"tls://anna:{SECRET}@127.0.0.1:{nats_server.port}"
    with pytest.raises(BackendUnavailable, match="does not offer TLS: use nats://"):
        async with open_nats(url):
            pass


async def test_unreachable_server_is_skipped(open_nats: Open, nats_server: NatsServer) -> None:
    url = f"nats://127.0.0.1:{free_port()},{nats_server.url}"
    for _ in range(3):
        async with open_nats(url) as backend:
            await backend.kv.set("key", b"value")


@pytest.mark.parametrize("content", [None, b"", b"not a credentials file", b"BEGIN NATS USER JWT"])
async def test_invalid_credentials_file_is_refused(
    open_nats: Open, nats_server: NatsServer, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "prism.creds"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidArgument, match=r"prism\.creds"):
        async with open_nats(nats_server.url, credentials=str(path)):
            pass


async def test_bucket_of_other_clients_gets_the_missing_features(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    bucket = await jetstream.create_key_value(KeyValueConfig(bucket="prism"))
    await bucket.put("theirs", b"value")
    async with open_nats(own_server.url) as backend:
        await backend.kv.set("key", b"value")
        assert list((await backend.kv.scan()).keys) == ["key"]
    config = (await jetstream.stream_info("KV_prism")).config
    assert config.allow_msg_ttl is True
    assert config.allow_direct is True
    entry = await bucket.get("theirs")
    assert entry.value == b"value"


@pytest.mark.parametrize(("config", "why"), UNFIT.values(), ids=UNFIT.keys())
async def test_bucket_that_would_lose_keys_is_refused(
    open_nats: Open,
    own_server: NatsServer,
    jetstream: JetStreamContext,
    config: dict[str, Any],
    why: str,
) -> None:
    await jetstream.create_key_value(KeyValueConfig(bucket="prism", **config))
    with pytest.raises(InvalidArgument, match=why):
        async with open_nats(own_server.url):
            pass


async def test_full_bucket_refuses_writes_and_serves_reads(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    await jetstream.create_key_value(KeyValueConfig(bucket="prism", max_bytes=100_000))
    async with open_nats(own_server.url) as backend:
        version = await backend.kv.set("key", b"value")
        for write in (
            backend.kv.set("other", bytes(200_000)),
            backend.kv.compare_and_set("key", bytes(200_000), expected=version),
        ):
            with pytest.raises(Exhausted) as refusal:
                await write
            assert refusal.value.outcome is Outcome.NOT_APPLIED
        entry = await backend.kv.get("key")
        assert entry is not None
        assert entry.value == b"value"


async def test_value_limit_leaves_space_for_headers(open_nats: Open) -> None:
    with NatsServer({"max_payload": 10_000}) as server:
        async with open_nats(server.url) as backend:
            limit = backend.profile.limits.max_value_bytes
            assert 9_000 < limit < 10_000
            version = await backend.kv.set("key", bytes(limit))
            await backend.kv.compare_and_set("key", bytes(limit), expected=version)
            with pytest.raises(InvalidArgument, match=f"{limit:,}"):
                await backend.kv.set("key", bytes(limit + 1))


async def test_calls_fail_after_the_bucket_is_deleted(
    open_nats: Open, own_server: NatsServer, jetstream: JetStreamContext
) -> None:
    async with open_nats(own_server.url) as backend:
        await jetstream.delete_key_value("prism")
        with pytest.raises(BackendUnavailable) as failure:
            await backend.kv.set("key", b"value")
        assert failure.value.outcome is Outcome.NOT_APPLIED
        with pytest.raises(PrismError):
            await backend.kv.get("key")
