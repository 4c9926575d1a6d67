"""A Prism whose backend is not as it should be ends with one clear line, and tells no secret."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from prism.ports import Capability
from tests.integration.backends.conftest import SERVERS
from tests.integration.cli.conftest import PRISM, CommandLine
from tests.integration.conftest import Server
from tests.servers.nats import NatsServer
from tests.servers.process import free_port

SECRET = "hunter2"
LOCKED: dict[str, dict[str, Any]] = {
    "redis": {"requirepass": SECRET},
    "nats": {"authorization": {"user": "anna", "password": SECRET}},
}
LOGINS = {"redis": f"redis://:{SECRET}@127.0.0.1", "nats": f"nats://anna:{SECRET}@127.0.0.1"}

Start = Callable[..., Server]


def refusal_of(server: Server) -> str:
    """The one thing that it had to say before it ended."""
    assert server.wait() == 1
    (told,) = [event for event in map(json.loads, server.lines) if event["level"] == "error"]
    assert "Traceback" not in server.log
    assert SECRET not in server.log
    message: str = told["message"]
    return message


@pytest.mark.parametrize("driver", SERVERS)
def test_a_server_that_is_down_is_named(driver: str, start_server: Start) -> None:
    port = free_port()
    url = f"{LOGINS[driver]}:{port}"
    args = ("--driver", driver, f"--{driver}-url", url, "--debug", "--start-timeout", "0")
    message = refusal_of(start_server(*args))
    assert f"127.0.0.1:{port}" in message
    assert "refuse" in message.lower()


@pytest.mark.parametrize("driver", SERVERS)
@pytest.mark.parametrize("given", ["none", "wrong"])
def test_a_password_that_is_missing_or_wrong_is_said_to_be(
    driver: str, given: str, start_server: Start
) -> None:
    with SERVERS[driver](LOCKED[driver]) as backend:
        env = {f"PRISM_{driver.upper()}_URL": backend.url}
        if given == "wrong":
            login = LOGINS[driver].replace(SECRET, "password1")
            env = {f"PRISM_{driver.upper()}_URL": f"{login}:{backend.port}"}
        server = start_server("--driver", driver, "--debug", env=env)
        message = refusal_of(server)
    assert f"127.0.0.1:{backend.port}" in message
    assert "password1" not in server.log


def test_a_nats_server_without_jetstream_is_said_to_be_one(start_server: Start) -> None:
    with NatsServer({"jetstream": None}) as backend:
        message = refusal_of(start_server("--driver", "nats", "--nats-url", backend.url))
    assert "JetStream is not enabled" in message
    assert "start nats-server with -js" in message


@pytest.mark.parametrize("driver", SERVERS)
async def test_no_secret_is_told_by_a_server_that_runs(
    driver: str, start_server: Start, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        backend = stack.enter_context(SERVERS[driver](LOCKED[driver]))
        secret = tmp_path / "url"
        secret.write_text(f"{LOGINS[driver]}:{backend.port}\n")
        given = ("--driver", driver, f"--{driver}-url-file", str(secret))
        server = start_server(*given, "--debug").serving()
        cli = CommandLine(server.address)
        shown = [cli("kv", "set", "key", "value"), cli("lifecycle", "status")]
        await backend.kill()
        shown += [cli("kv", "set", "key", "value"), cli("lifecycle", "status")]
        shown.append(cli("config", "show", *given))
        server.stop()
    assert [done.returncode for done in shown] == [0, 0, 1, 0, 0]
    assert all(SECRET.encode() not in done.stdout + done.stderr for done in shown)
    assert SECRET not in server.log


def test_every_driver_is_listed_with_what_it_can_do() -> None:
    listed = prism("drivers", "--json")
    drivers = {driver["name"]: driver for driver in json.loads(listed.stdout)["drivers"]}
    assert {"memstore", "nats", "redis", "remote", "sqlite"} <= drivers.keys()
    every = {*Capability}
    for name in ("memstore", "redis", "sqlite"):
        assert drivers[name]["capabilities"].keys() == every
    assert drivers["nats"]["capabilities"].keys() == every - {Capability.TRANSACTIONS}


@pytest.mark.parametrize("driver", SERVERS)
def test_a_driver_whose_library_is_missing_says_how_to_install_it(
    driver: str, tmp_path: Path
) -> None:
    (tmp_path / f"{driver}.py").write_text(
        f'raise ModuleNotFoundError("No module named {driver!r}", name={driver!r})\n'
    )
    install = f"pip install 'prism-kv[{driver}]'"
    listed = prism("drivers", PYTHONPATH=str(tmp_path))
    assert listed.returncode == 0
    (problem,) = [line for line in listed.stdout.splitlines() if "cannot be used" in line]
    assert problem.startswith(driver)
    assert install in problem
    chosen = prism("serve", "--driver", driver, PYTHONPATH=str(tmp_path))
    assert (chosen.returncode, chosen.stdout) == (1, "")
    assert install in chosen.stderr
    assert chosen.stderr.count("\n") == 1


def prism(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PRISM, *arguments], env={**os.environ, **env}, capture_output=True, text=True
    )
