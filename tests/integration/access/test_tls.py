"""Revoked certificates are refused at each door, and TLS 1.2 where 1.3 is the least version."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

import prism
from prism import TLS
from prism.adapters.revocation import load_revocation_lists
from prism.ports import InvalidArgument, PrismError, Unauthenticated
from tests.integration.access.conftest import Guarded, Serve
from tests.integration.conftest import Server
from tests.servers.authority import Authority, replace_file

POLICY = '[[rules]]\nwho = "cn:*"\nrole = "administrator"\n'


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority("test ca")


class Files:
    """Certificates of a server and of two clients, and a list of revoked ones."""

    def __init__(self, folder: Path, authority: Authority) -> None:
        self.ca, self.lists = folder / "ca.pem", folder / "crl.pem"
        self.ca.write_bytes(authority.pem)
        self.server = authority.write(folder, "localhost")
        self.clients = {name: authority.write(folder, name) for name in ("good", "bad")}
        self._authority = authority

    def revoke(self, *names: str, since: datetime | None = None) -> None:
        """Let these clients' certificates be the revoked ones."""
        serials = [serial_of(self.clients[name][0]) for name in names]
        replace_file(self.lists, self._authority.revocation_list(serials, since=since))

    def tls(self, name: str) -> TLS:
        cert, key = self.clients[name]
        return TLS(ca=self.ca, cert=cert, key=key)

    @property
    def settings(self) -> dict[str, Any]:
        cert, key = self.server
        return {
            "tls_cert": cert,
            "tls_key": key,
            "tls_client_ca": self.ca,
            "tls_crl": self.lists,
        }


def serial_of(cert: Path) -> int:
    return x509.load_pem_x509_certificate(cert.read_bytes()).serial_number


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> Files:
    return Files(tmp_path, authority)


def client_of(server: Guarded, files: Files, name: str) -> Any:
    address = server.address.replace("127.0.0.1", "localhost")
    return prism.connect(address, tls=files.tls(name), retry=False)


async def test_a_revoked_certificate_is_refused_on_open_streams_too(
    serve: Serve, files: Files, caplog: pytest.LogCaptureFixture
) -> None:
    files.revoke("good", since=datetime.now(UTC) - timedelta(days=9))
    server = await serve(POLICY, **files.settings)
    assert "crl.pem should have been replaced before" in caplog.text
    with pytest.raises(Unauthenticated, match="the client certificate is revoked"):
        async with client_of(server, files, "good"):
            pass
    async with client_of(server, files, "bad") as bad:
        await bad.set("k", b"v")
        files.revoke("bad")
        await server.reload()
        with pytest.raises(Unauthenticated, match="the client certificate is revoked"):
            await bad.get("k")
    async with client_of(server, files, "good") as good:
        await good.get("k")
        # A bad file changes nothing.
        files.lists.write_text("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
        await server.reload()
        assert "crl.pem has no list of revoked certificates" in caplog.text
        await good.get("k")
    with pytest.raises(Unauthenticated):
        async with client_of(server, files, "bad"):
            pass


@pytest.mark.parametrize("transport", ["h2corn"], indirect=True)
async def test_a_revoked_certificate_is_refused_at_the_redis_port(
    serve: Serve, files: Files
) -> None:
    files.revoke("bad")
    server = await serve(POLICY, resp_port=0, **files.settings)
    _, _, port = server.redis_address.rpartition(":")

    def redis(name: str) -> Any:
        cert, key = files.clients[name]
        return Redis(
            host="localhost",
            port=int(port),
            ssl=True,
            ssl_ca_certs=str(files.ca),
            ssl_certfile=str(cert),
            ssl_keyfile=str(key),
            retry=Retry(NoBackoff(), 0),
        )

    async with redis("good") as good, redis("bad") as bad:
        assert await good.set("k", b"v")
        with pytest.raises(RedisError, match="the client certificate is revoked"):
            await bad.get("k")
        files.revoke("good")
        await server.reload()
        with pytest.raises(RedisError, match="the client certificate is revoked"):
            await good.get("k")
        assert await bad.get("k") == b"v"


def test_a_list_that_cannot_be_used_is_named(tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "crl.pem"
    with pytest.raises(InvalidArgument, match=r"crl\.pem cannot be read"):
        load_revocation_lists(path)
    complete = authority.revocation_list([1, 2**80])
    for content in (b"", b"0", authority.pem, complete[: len(complete) // 2]):
        path.write_bytes(content)
        with pytest.raises(InvalidArgument, match=r"crl\.pem has no list of revoked certificates"):
            load_revocation_lists(path)
    path.write_bytes(authority.revocation_list([1], delta=True))
    with pytest.raises(InvalidArgument, match=r"crl\.pem has a delta list"):
        load_revocation_lists(path)
    # Several authorities have a list each; an empty one is a list.
    path.write_bytes(complete + Authority("other").revocation_list([1]))
    assert len(load_revocation_lists(path).certificates) == 3
    path.write_bytes(authority.revocation_list([]))
    assert load_revocation_lists(path).certificates == frozenset()


async def handshake(address: str, files: Files, version: ssl.TLSVersion) -> str | None:
    """Return the version that a client of at most this version agrees on; None: none."""
    host, _, port = address.rpartition(":")
    context = ssl.create_default_context(cafile=str(files.ca))
    context.maximum_version = version
    context.set_alpn_protocols(["h2"])
    try:
        _, writer = await asyncio.open_connection(
            host, int(port), ssl=context, server_hostname="localhost"
        )
    except OSError:
        return None
    agreed: str = writer.get_extra_info("ssl_object").version()
    writer.close()
    return agreed


async def test_tls_1_2_is_refused_where_1_3_is_the_least_version(
    start_server: Callable[..., Server], files: Files
) -> None:
    cert, key = files.server
    server = start_server(
        *("--tls-cert", str(cert), "--tls-key", str(key), "--resp-port", "0"),
        *("--tls-min-version", "1.3", "--transport", "grpcio"),
    ).serving()
    for address in (server.address, server.redis_address):
        assert await handshake(address, files, ssl.TLSVersion.TLSv1_2) is None
        assert await handshake(address, files, ssl.TLSVersion.TLSv1_3) == "TLSv1.3"
    async with prism.connect(
        server.address.replace("127.0.0.1", "localhost"), tls=TLS(ca=files.ca)
    ) as kv:
        await kv.set("k", b"v")


@pytest.mark.parametrize("transport", ["grpcio"], indirect=True)
async def test_a_least_version_that_cannot_be_kept_is_refused(serve: Serve, files: Files) -> None:
    files.revoke()
    import_module("grpc")
    with pytest.raises(PrismError, match="grpcio is loaded already"):
        await serve(POLICY, tls_min_version="1.3", **files.settings)
