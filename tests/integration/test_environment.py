"""What the environment of a server may hold: variables, files and their modes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

import prism
from prism.ports import AccessDenied, Exhausted
from tests.servers.authority import Authority

Start = Callable[..., Any]


def warnings_of(server: Any) -> list[str]:
    """Messages of the warnings that it logged."""
    events = map(json.loads, server.lines)
    return [event["message"] for event in events if event["level"] == "warning"]


def test_variables_of_kubernetes_services_are_ignored_with_a_warning(start_server: Start) -> None:
    link = "tcp://10.0.0.5:9091"
    server = start_server(env={"PRISM_METRICS_PORT": link, "PRISM_GRPC_PORT": "tcp://[fd::1]:9"})
    server.serving()
    (first, second) = warnings_of(server)
    assert first.startswith("PRISM_GRPC_PORT=tcp://[fd::1]:9 is ignored: Kubernetes")
    assert second.startswith(f"PRISM_METRICS_PORT={link} is ignored: Kubernetes")


def test_another_wrong_value_of_a_port_is_still_an_error(start_server: Start) -> None:
    server = start_server(free_ports=False, env={"PRISM_METRICS_PORT": "http://x:1"})
    assert server.wait() == 2
    assert "metrics_port is 'http://x:1'; it must be a whole number" in server.log


def test_the_http_port_can_have_a_host_of_its_own(start_server: Start) -> None:
    server = start_server("--metrics-host", "127.0.0.2").serving()
    assert server.address.startswith("127.0.0.1:")
    assert server.metrics_address.startswith("127.0.0.2:")
    with urlopen(f"http://{server.metrics_address}/ready") as answer:
        assert answer.status == 200


def test_plain_text_beyond_loopback_is_refused_or_warned_about(start_server: Start) -> None:
    refused = start_server("--host", "0.0.0.0")
    assert refused.wait() == 2
    assert "host is 0.0.0.0, which other machines can reach" in refused.log
    server = start_server("--host", "0.0.0.0", "--insecure").serving()
    (warning,) = warnings_of(server)
    assert warning.startswith("gRPC on 0.0.0.0 has no TLS")


def test_a_secret_that_every_user_may_read_is_warned_about(
    start_server: Start, tmp_path: Path
) -> None:
    open_, private = tmp_path / "open", tmp_path / "private"
    for path, mode in ((open_, 0o644), (private, 0o640)):
        path.write_text("hunter2\n")
        path.chmod(mode)
    server = start_server("--admin-token-file", str(open_)).serving()
    (warning,) = warnings_of(server)
    assert warning.startswith(f"every user of this machine may read the secret in {open_}")
    assert "(mode 644)" in warning
    server = start_server("--admin-token-file", str(private)).serving()
    assert warnings_of(server) == []


def test_an_unnamed_config_file_that_every_user_may_write_is_refused(
    start_server: Start, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("default_timeout: 5s\n")
    config.chmod(0o666)
    server = start_server()
    assert server.wait() == 2
    assert "every user may write it (mode 666)" in server.log
    named = start_server("--config", str(config)).serving()
    (warning,) = warnings_of(named)
    assert warning.startswith(f"the config file {config} is not safe")


@pytest.mark.parametrize("name", ["config.yaml", "config.toml"])
def test_a_byte_order_mark_in_a_config_file_is_skipped(
    start_server: Start, tmp_path: Path, name: str
) -> None:
    file = tmp_path / name
    text = 'log_format = "json"\r\n' if name.endswith("toml") else "log_format: json\r\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    start_server("--config", str(file)).serving()


@pytest.mark.parametrize("secret", ["info", "prism", "running", "time"])
def test_a_password_that_is_a_common_word_hides_no_field_of_the_log(
    start_server: Start, secret: str
) -> None:
    server = start_server("--driver", "slow", "--slow-password", secret)
    while not any("grpc_address" in line for line in server.lines):
        server.wait_for("")
    for event in map(json.loads, server.lines):
        assert event["level"] in ("info", "warning")
        assert event["service"] == "prism"
        assert event["logger"].startswith(("prism.", "slow_driver"))
        assert event["driver"] == "slow"


async def test_http_proxies_of_the_environment_are_not_used(
    start_server: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    socket = tmp_path / "prism.sock"
    for server in (start_server(), start_server("--grpc-socket", str(socket))):
        async with prism.connect(server.serving().address) as kv:
            await kv.set("k", b"v")


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
def test_an_encrypted_private_key_is_said_to_be_encrypted(
    start_server: Start, tmp_path: Path, transport: str
) -> None:
    cert, key = Authority("ours").write(tmp_path, "server", password="secret")
    files = ("--tls-cert", str(cert), "--tls-key", str(key), "--transport", transport)
    server = start_server(*files)
    assert server.wait() == 1
    assert f"the private key {key} is encrypted: give its password with tls_key_pass" in server.log
    password = tmp_path / "password"
    password.write_text("wrong")
    server = start_server(*files, "--tls-key-password-file", str(password))
    assert server.wait() == 1
    assert f"the password given for the private key {key} does not decrypt it" in server.log
    assert "wrong" not in server.log


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_an_encrypted_private_key_is_used_with_its_password(
    start_server: Start, tmp_path: Path, transport: str
) -> None:
    authority = Authority("ours")
    cert, key = authority.write(tmp_path, "server", password="server's secret")
    client_cert, client_key = authority.write(tmp_path, "client", password="client's secret")
    ca, password = tmp_path / "ca.pem", tmp_path / "password"
    ca.write_bytes(authority.pem)
    password.write_text("server's secret\r\n")
    server = start_server(
        *("--tls-cert", str(cert), "--tls-key", str(key), "--tls-client-ca", str(ca)),
        *("--tls-key-password-file", str(password), "--transport", transport),
    ).serving()
    tls = prism.TLS(ca=ca, cert=client_cert, key=client_key, key_password="client's secret")
    async with prism.connect(server.address, tls=tls) as kv:
        await kv.set("k", b"v")


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_guesses_of_the_admin_token_are_slowed_down_and_logged_with_their_peer(
    start_server: Start, transport: str, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("right")
    token.chmod(0o600)
    server = start_server("--admin-token-file", str(token), "--transport", transport).serving()

    async def guess(text: str) -> str:
        async with prism.connect_admin(server.address, admin_token=text) as admin:
            try:
                await admin.lifecycle.state()
            except (AccessDenied, Exhausted) as error:
                return type(error).__name__
        return "right"

    began = time.monotonic()
    answers = [await guess(f"wrong {number}") for number in range(5)]
    assert answers == ["AccessDenied"] * 5
    # 0.1 + 0.2 + 0.4 + 0.8 s between the five.
    assert time.monotonic() - began > 1.4
    many = await asyncio.gather(*(guess("wrong again") for _ in range(10)))
    assert many.count("Exhausted") >= 5
    # The loop is free meanwhile, and other calls are served.
    async with prism.connect(server.address) as kv:
        await kv.set("k", b"v")
    assert await guess("right") == "right"
    (first, *_) = [w for w in warnings_of(server) if "wrong admin token" in w]
    assert first == "a wrong admin token came from 127.0.0.1"


def test_a_bad_limit_of_opentelemetry_is_one_plain_error(start_server: Start) -> None:
    server = start_server("--enable-tracing", env={"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "many"})
    assert server.wait() == 1
    (error,) = [e for e in map(json.loads, server.lines) if e["level"] == "error"]
    assert error["message"].startswith("an OTEL_ variable is not valid: ")
    assert "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT" in error["message"]
    assert "exc_info" not in error


@pytest.mark.parametrize(
    "variable",
    [
        "OTEL_PYTHON_CONTEXT",
        "OTEL_PYTHON_TRACER_PROVIDER",
        "OTEL_EXPERIMENTAL_RESOURCE_DETECTORS",
    ],
)
def test_a_component_of_opentelemetry_that_is_not_installed_is_one_plain_error(
    start_server: Start, variable: str
) -> None:
    server = start_server("--enable-tracing", env={variable: "absent"})
    assert server.wait() == 1
    (error,) = [e for e in map(json.loads, server.lines) if e["level"] == "error"]
    assert error["message"].startswith(f"{variable} names 'absent', which is not installed; ")
    assert "exc_info" not in error
