"""`/health` and `/ready` in every state of a server."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.client import connect_admin

Start = Callable[..., Any]
READY = (200, {"status": "ready"})
HEALTHY = (200, {"status": "healthy"})


def ask(address: str, path: str, method: str = "GET") -> tuple[int, Any]:
    connection = http.client.HTTPConnection(address, timeout=10)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        body = response.read()
        assert response.getheader("content-type") == "application/json"
        return response.status, json.loads(body) if body else None
    finally:
        connection.close()


def test_running_server_is_healthy_and_ready(shared_server: Any) -> None:
    assert ask(shared_server.metrics_address, "/health") == HEALTHY
    assert ask(shared_server.metrics_address, "/ready") == READY
    assert ask(shared_server.metrics_address, "/ready?verbose=1") == READY


@pytest.mark.parametrize(
    ("path", "body"), [("/health", b'{"status":"healthy"}'), ("/ready", b'{"status":"ready"}')]
)
def test_probe_has_a_fixed_body(shared_server: Any, path: str, body: bytes) -> None:
    connection = http.client.HTTPConnection(shared_server.metrics_address, timeout=10)
    connection.request("GET", path)
    assert connection.getresponse().read() == body
    connection.close()


def test_unknown_metrics_format_gets_the_default_format(shared_server: Any) -> None:
    connection = http.client.HTTPConnection(shared_server.metrics_address, timeout=10)
    accept = "application/openmetrics-text;version=abc"
    connection.request("GET", "/metrics", headers={"accept": accept})
    response = connection.getresponse()
    assert response.status == 200
    assert b"\nprism_ready 1.0\n" in response.read()
    connection.close()


def test_web_socket_request_gets_an_ordinary_answer_and_is_not_logged(server: Any) -> None:
    connection = http.client.HTTPConnection(server.metrics_address, timeout=10)
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    connection.request("GET", "/", headers=upgrade)
    assert connection.getresponse().status == 200
    connection.close()
    server.stop()
    assert "websocket" not in server.log


def test_head_answers_without_a_body(shared_server: Any) -> None:
    assert ask(shared_server.metrics_address, "/health", "HEAD") == (200, None)
    assert ask(shared_server.metrics_address, "/nothing", "HEAD") == (404, None)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/nothing", 404), ("GET", "/Health", 404), ("POST", "/health", 405)],
)
def test_unknown_path_or_method_is_refused_in_json(
    shared_server: Any, method: str, path: str, status: int
) -> None:
    code, body = ask(shared_server.metrics_address, path, method)
    assert code == status
    assert "error" in body


def test_server_that_opens_its_backend_is_healthy_but_not_ready(
    start_server: Start, tmp_path: Path
) -> None:
    opening = tmp_path / "open"
    server = start_server("--driver", "slow", "--slow-opened-by", str(opening), "--debug")
    address = server.wait_for("health is answered on")["message"].split()[-1]
    server.wait_for("initializing")
    assert ask(address, "/health") == HEALTHY
    assert ask(address, "/ready") == (
        503,
        {"status": "not ready", "state": "created", "reason": "the driver is created"},
    )
    opening.touch()
    server.serving()
    assert ask(address, "/ready") == READY


def test_server_in_the_drain_delay_is_not_ready_but_serves(
    start_server: Start,
) -> None:
    server = start_server("--drain-delay", "1h").serving()
    server.signal(signal.SIGTERM)
    server.wait_for("shutting down")
    reply = (503, {"status": "not ready", "state": "running", "reason": "shutting down"})
    assert _eventually(lambda: ask(server.metrics_address, "/ready"), reply)
    assert ask(server.metrics_address, "/health") == HEALTHY
    server.signal(signal.SIGTERM)
    assert server.wait() == 143


async def test_drained_server_is_not_ready(server: Any) -> None:
    async with connect_admin(server.address) as admin:
        await admin.lifecycle.drain()
    assert await asyncio.to_thread(ask, server.metrics_address, "/ready") == (
        503,
        {"status": "not ready", "state": "draining", "reason": "the driver is draining"},
    )


def _eventually(ask_again: Callable[[], Any], expected: Any) -> bool:
    """Ask until the answer is as expected: the log line comes a moment before the change."""
    return any(ask_again() == expected for _ in range(1000))
