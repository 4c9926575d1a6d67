from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

import prism
from prism.adapters.client import TLS
from prism.ports import BackendTimeout, BackendUnavailable

Start = Callable[..., Any]


def error_of(server: Any) -> str:
    """Return the only error that the server logged."""
    (event,) = [e for e in map(json.loads, server.lines) if e["level"] == "error"]
    message: str = event["message"]
    return message


def test_one_log_line_has_the_addresses(shared_server: Any) -> None:
    events = [json.loads(line) for line in shared_server.lines]
    (event,) = [event for event in events if "grpc_address" in event]
    assert event["message"] == "serving"
    assert event["service"] == "prism"
    assert event["driver"] == "memstore"
    assert event["pid"] == shared_server.process.pid
    for address in (event["grpc_address"], event["metrics_address"]):
        host, _, port = address.rpartition(":")
        socket.create_connection((host, int(port)), timeout=5).close()


def test_stderr_has_only_json_lines(server: Any) -> None:
    server.stop()
    assert all(json.loads(line)["time"] for line in server.lines)
    assert server.process.stdout.read() == ""


async def test_no_metrics_opens_no_second_port(start_server: Start) -> None:
    server = start_server("--no-metrics").serving()
    assert server.metrics_address is None
    async with prism.connect(server.address) as kv:
        assert await kv.get("k") is None


def test_grpc_port_in_use_is_an_error_and_no_backend_is_touched(
    start_server: Start, shared_server: Any
) -> None:
    port = shared_server.address.rpartition(":")[2]
    second = start_server("--driver", "slow", "--grpc-port", port)
    assert second.wait() == 1
    assert f"port {port} on 127.0.0.1 is taken" in error_of(second)
    assert "initializing" not in second.log
    assert "Traceback" not in second.log


def test_metrics_port_in_use_is_an_error_and_no_backend_is_touched(
    start_server: Start, shared_server: Any
) -> None:
    port = shared_server.metrics_address.rpartition(":")[2]
    second = start_server("--driver", "slow", "--metrics-port", port)
    assert second.wait() == 1
    assert f"port {port} on 127.0.0.1 is taken" in error_of(second)
    assert "--metrics-port" in error_of(second)
    assert "initializing" not in second.log


def test_unreachable_backend_is_named_without_its_password(
    start_server: Start,
) -> None:
    server = start_server(
        *("--driver", "slow", "--no-slow-reachable", "--slow-url", "slow://me:hunter2@host"),
        *("--start-timeout", "0"),
    )
    assert server.wait() == 1
    assert error_of(server) == "cannot reach slow://me:***@host: connection refused"
    assert "hunter2" not in server.log


def test_server_waits_for_its_backend_and_says_why_it_is_not_ready(
    start_server: Start, tmp_path: Path
) -> None:
    backend = tmp_path / "backend"
    server = start_server(
        *("--driver", "slow", "--slow-reachable-by", str(backend)),
        *("--slow-url", "slow://me:hunter2@host", "--debug"),
    )
    health = server.wait_for("health is answered on")["message"].rpartition(" ")[2]
    waiting = server.wait_for("waiting for the backend")
    reason = "cannot reach slow://me:***@host: connection refused"
    assert waiting["level"] == "warning"
    assert waiting["message"].endswith(reason)
    with pytest.raises(HTTPError) as refused:
        urlopen(f"http://{health}/ready")
    answer = json.load(refused.value)
    assert answer["reason"] == f"the driver is created, waiting for the backend: {reason}"
    with urlopen(f"http://{health}/health") as alive:
        assert alive.status == 200
    backend.touch()
    server.serving()
    assert server.log.count("waiting for the backend") == 1
    assert "hunter2" not in server.log


def test_server_that_waits_for_its_backend_ends_in_order_on_a_signal(start_server: Start) -> None:
    server = start_server("--driver", "slow", "--no-slow-reachable")
    server.wait_for("waiting for the backend")
    server.signal(signal.SIGTERM)
    assert server.wait() == 0


def test_server_gives_up_after_the_start_timeout(start_server: Start) -> None:
    began = time.monotonic()
    server = start_server("--driver", "slow", "--no-slow-reachable", "--start-timeout", "500ms")
    assert server.wait() == 1
    assert time.monotonic() - began > 0.5
    assert error_of(server) == "cannot reach slow://localhost: connection refused"


def test_wrong_credentials_are_not_waited_for(start_server: Start) -> None:
    server = start_server("--driver", "slow", "--slow-refuses")
    assert server.wait() == 1
    assert "waiting for the backend" not in server.log
    assert error_of(server) == "slow://localhost rejected the credentials"


def test_unexpected_error_is_logged_with_its_stack_trace(start_server: Start) -> None:
    server = start_server("--driver", "slow", "--slow-broken")
    assert server.wait() == 1
    (event,) = [e for e in map(json.loads, server.lines) if e["level"] == "error"]
    assert event["message"] == "an unexpected error ended the server; this is a defect"
    assert "an unexpected error" in event["exc_info"]


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--driver", "slwo"), "unknown driver 'slwo'; the installed ones are: slow, "),
        (("--grpc-port", "x"), "it must be a whole number"),
        (("--config", "absent.toml"), "cannot read the config file absent.toml"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(
    start_server: Start, args: tuple[str, ...], expected: str
) -> None:
    server = start_server(*args)
    assert server.wait() == 2
    assert expected in server.log
    assert "Traceback" not in server.log


def test_config_file_is_logged(start_server: Start, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("default_timeout: 5s\n")
    server = start_server()
    assert server.wait_for("starting")["config_file"] == str(tmp_path / "config.yaml")
    server.serving()


def test_misspelt_variable_is_warned_about(start_server: Start) -> None:
    server = start_server(env={"PRISM_METRICS_PROT": "1", "PRISM_SERVICE_HOST": "10.0.0.1"})
    event = server.wait_for("PRISM_METRICS_PROT")
    assert event["level"] == "warning"
    server.serving()
    assert "PRISM_SERVICE_HOST" not in server.log


async def test_driver_of_another_package_has_its_own_options(
    start_server: Start, tmp_path: Path
) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    server = start_server(
        *("--driver", "slow", "--slow-password-file", "password", "--debug"),
        env={"PRISM_SLOW_URL": "slow://elsewhere"},
    ).serving()
    async with prism.connect(server.address) as kv:
        await kv.set("k", b"v")
        assert kv.profile.driver == "memstore"
    assert "hunter2" not in server.log


async def test_grpc_is_served_on_a_unix_socket(start_server: Start, tmp_path: Path) -> None:
    path = tmp_path / "prism.sock"
    server = start_server("--grpc-socket", str(path)).serving()
    assert server.address == f"unix:{path}"
    assert path.stat().st_mode & 0o077 == 0
    async with prism.connect(server.address) as kv:
        await kv.set("k", b"v")
    server.stop()
    assert not path.exists()


def test_unreadable_certificate_is_an_error(start_server: Start, tmp_path: Path) -> None:
    server = start_server("--tls-cert", "absent.pem", "--tls-key", "absent.key")
    assert server.wait() == 1
    assert "absent.pem cannot be read: No such file" in error_of(server)


async def test_tls_is_served_from_certificate_files(
    start_server: Start, certificate: tuple[Path, Path]
) -> None:
    cert, key = certificate
    server = start_server("--tls-cert", str(cert), "--tls-key", str(key)).serving()
    async with prism.connect(server.address, tls=TLS(ca=cert)) as kv:
        await kv.set("k", b"v")
    with pytest.raises((BackendUnavailable, BackendTimeout)):
        async with prism.connect(server.address, timeout=timedelta(seconds=1)):
            pass


def test_version_and_help_need_no_server() -> None:
    for args in (["--version"], ["--help"]):
        done = subprocess.run(
            [sys.executable, "-m", "prism.bootstrap", *args], capture_output=True, text=True
        )
        assert done.returncode == 0
        assert done.stdout
        assert done.stderr == ""


def test_server_imports_nothing_that_it_does_not_need() -> None:
    program = (
        "import sys, h2corn, prism.cli.commands, prism.bootstrap.main\n"
        "import prism.bootstrap.container, prism.adapters.memstore\n"
        "print(*{name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "h2corn" in loaded
    assert loaded.isdisjoint(
        {
            "grpc",
            "rich",
            "prometheus_client",
            "opentelemetry",
            "hypothesis",
            "pytest",
            "redis",
            "nats",
        }
    )
