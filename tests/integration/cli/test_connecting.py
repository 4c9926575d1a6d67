"""What `prism` says when no Prism server answers at an address."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.cli.conftest import CommandLine
from tests.servers.redis import RedisServer

SPEAKS_TLS = "the server speaks TLS: give --tls-ca FILE"
SPEAKS_NO_TLS = "the server does not speak TLS: leave out --tls"

StartServer = Callable[..., Any]


def failure(address: str, *options: str) -> str:
    """Return the line of a command that must fail, without its beginning."""
    done = CommandLine(address)("kv", "get", "key", *options)
    line = done.stderr.decode()
    assert (done.returncode, done.stdout, line.count("\n")) == (1, b"", 1)
    beginning = f"prism: no Prism server answers at {address}: "
    assert line.startswith(beginning)
    return line.removeprefix(beginning)


@pytest.fixture
def encrypted(start_server: StartServer, certificate: tuple[Path, Path]) -> str:
    """Address of a server with TLS."""
    cert, key = certificate
    server = start_server("--tls-cert", str(cert), "--tls-key", str(key)).serving()
    return f"localhost:{server.address.rpartition(':')[2]}"


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
def test_a_server_that_speaks_tls(
    transport: str, start_server: StartServer, certificate: tuple[Path, Path]
) -> None:
    cert, key = map(str, certificate)
    tls = ("--tls-cert", cert, "--tls-key", key, "--transport", transport)
    address = start_server(*tls).serving().address
    assert failure(address).startswith(SPEAKS_TLS)
    assert CommandLine(address)("health", "--tls-ca", cert).stdout == b"SERVING\n"
    asks_for_clients = start_server(*tls, "--tls-client-ca", cert).serving().address
    assert failure(asks_for_clients).startswith(SPEAKS_TLS)
    assert "give --tls-cert and --tls-key" in failure(asks_for_clients, "--tls-ca", cert)


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
def test_a_server_that_does_not_speak_tls(
    transport: str, start_server: StartServer, certificate: tuple[Path, Path]
) -> None:
    address = start_server("--transport", transport).serving().address
    assert failure(address, "--tls").startswith(SPEAKS_NO_TLS)
    assert failure(address, "--tls-ca", str(certificate[0])).startswith(SPEAKS_NO_TLS)


def test_a_certificate_that_is_not_trusted(encrypted: str) -> None:
    reason = failure(encrypted, "--tls")
    assert reason.startswith(
        "the certificate of the server is not trusted (self-signed certificate"
    )
    assert "with --tls-ca" in reason


def test_a_certificate_for_another_name(
    start_server: StartServer, certificate: tuple[Path, Path]
) -> None:
    cert, key = map(str, certificate)
    # Also loopback, but not in the certificate.
    server = start_server("--host", "127.0.0.2", "--tls-cert", cert, "--tls-key", key).serving()
    reason = failure(server.address, "--tls-ca", cert)
    assert reason.startswith("the certificate of the server is not for '127.0.0.2'")


def test_a_port_of_plain_http(start_server: StartServer) -> None:
    server = start_server().serving()
    assert "plain HTTP, not gRPC" in failure(server.metrics_address)
    assert failure(server.metrics_address, "--tls").startswith(SPEAKS_NO_TLS)


def test_another_protocol(redis_server: RedisServer) -> None:
    reason = failure(f"127.0.0.1:{redis_server.port}")
    assert reason == "the server there is not a Prism server\n"


def test_nothing_listens(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        assert failure(f"127.0.0.1:{port}").startswith("nothing listens there: start a server")
    assert failure(f"unix:{tmp_path}/none.sock").startswith("nothing listens there")


def test_an_unknown_host() -> None:
    assert failure("no-such-host.invalid:9090").startswith(
        "there is no host 'no-such-host.invalid'"
    )


def test_a_listener_that_says_nothing_ends_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        done = CommandLine(address)("kv", "set", "key", "value", "--timeout", "500ms")
    assert done.returncode == 1
    assert done.stderr.endswith(b"; it was not applied\n")


def test_a_command_that_administers_says_the_same(encrypted: str) -> None:
    for command in (["lifecycle", "status"], ["health"], ["patterns", "list"]):
        done = CommandLine(encrypted)(*command)
        assert SPEAKS_TLS in done.stderr.decode()


def test_an_error_about_the_admin_token_names_the_flag(
    start_server: StartServer, tmp_path: Path
) -> None:
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    right.write_text("secret-token")
    wrong.write_text("other-token")
    address = start_server("--admin-token-file", str(right)).serving().address
    cli = CommandLine(address)
    missing = cli("lifecycle", "drain").stderr.decode()
    assert "give --admin-token-file FILE" in missing
    assert "authorization" not in missing
    refused = cli("lifecycle", "drain", "--admin-token-file", str(wrong)).stderr.decode()
    assert refused == f"prism: the admin token is wrong; the token comes from {wrong}\n"
