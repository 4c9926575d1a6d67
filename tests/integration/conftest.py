"""Prism servers in processes of their own.

`server` serves memstore, `start_server` starts any server, and `shared_server` is shared by
tests that do not change its state.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prism import connect_admin
from tests.commands import COMMANDS

PACKAGES = Path(__file__).parent / "packages"
"""Folder with the driver `slow`, which only these servers find."""

TIMEOUT_S = 30.0
"""Time limit of every wait, far beyond what a slow machine needs."""

# Processes inherit an ignored signal, as under nohup or in the background of a shell; some tests
# send these two to the servers that they start.
for _number in (signal.SIGHUP, signal.SIGINT):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, signal.SIG_DFL)


async def serving_status(address: str) -> str:
    """Status of the standard health service at this address."""
    async with connect_admin(address) as admin:
        return await admin.serving_status()


class Server:
    """A process that runs `python -m prism.bootstrap`.

    Attributes:
        program: arguments of the Python interpreter.
        lines: log lines so far.
        address: gRPC address, once the server serves.
        metrics_address: HTTP address, once the server serves; None: no HTTP.
        redis_address: address for Redis clients; empty: they are not served.
    """

    program: tuple[str, ...] = ("-m", "prism.bootstrap")

    def __init__(
        self,
        args: tuple[str, ...],
        env: dict[str, str],
        folder: Path,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        clean = {name: v for name, v in os.environ.items() if not name.startswith("PRISM_")}
        self.process = subprocess.Popen(
            [sys.executable, *self.program, *args],
            cwd=folder,
            env={**clean, "PYTHONPATH": str(PACKAGES), **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            pass_fds=pass_fds,
        )
        self.lines: list[str] = []
        self._new: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, message: str) -> dict[str, Any]:
        """Return the next log event whose message starts with this text."""
        while True:
            try:
                line = self._new.get(timeout=TIMEOUT_S)
            except queue.Empty:
                pytest.fail(f"no {message!r} from the server:\n{self.log}")
            if line is None:
                pytest.fail(f"the server ended without {message!r}:\n{self.log}")
            event = json.loads(line)
            if event["message"].startswith(message):
                found: dict[str, Any] = event
                return found

    def serving(self) -> Server:
        """Wait until the server serves."""
        event = self.wait_for("serving")
        while "pattern" in event:  # a proxy also logs the events of its patterns
            event = self.wait_for("serving")
        self.address: str = event["grpc_address"]
        self.metrics_address: str | None = event["metrics_address"]
        self.redis_address: str = event.get("redis_address", "")
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end of the process and return its exit status."""
        status = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return status

    def stop(self) -> None:
        """Stop the server with SIGTERM; its exit status must be 0."""
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
            assert self.wait() == 0, self.log

    def close(self) -> None:
        """Kill the process if it still runs, and release its pipes."""
        if self.process.poll() is None:
            self.process.kill()
        self.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))
                self._new.put(line)
        self._new.put(None)


class ProxyServer(Server):
    """A process that runs `prism proxy`."""

    program: tuple[str, ...] = ("-m", "prism.cli", "proxy")


@pytest.fixture(scope="session", autouse=True)
def _forked_commands() -> Iterator[None]:
    yield
    COMMANDS.close()


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Function that starts a server on free ports, without waiting until it serves."""
    started: list[Server] = []

    def start(
        *args: str,
        env: dict[str, str] | None = None,
        free_ports: bool = True,
        pass_fds: tuple[int, ...] = (),
        kind: type[Server] = Server,
    ) -> Server:
        ports = ("--grpc-port", "0", "--metrics-port", "0") if free_ports else ()
        server = kind((*ports, *args), env or {}, tmp_path, pass_fds)
        started.append(server)
        return server

    yield start
    try:
        for server in started:
            server.stop()
    finally:
        for server in started:
            server.close()


@pytest.fixture(scope="session")
def shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A memstore server for all tests of the session."""
    args = ("--grpc-port", "0", "--metrics-port", "0")
    server = Server(args, {}, tmp_path_factory.mktemp("shared"))
    try:
        yield server.serving()
        server.stop()
    finally:
        server.close()


@pytest.fixture
def server(start_server: Callable[..., Server]) -> Server:
    """A memstore server that serves; its exit status must be 0."""
    return start_server().serving()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for loopback, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = (
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
        *("-nodes", "-keyout", str(key), "-out", str(cert), "-days", "2", "-subj", "/CN=prism"),
        *("-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
    )
    subprocess.run(command, check=True, capture_output=True)
    return cert, key
