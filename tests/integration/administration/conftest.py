"""Proxies in processes of their own, and `prism patterns` commands for them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.commands import COMMANDS
from tests.integration.conftest import ProxyServer, Server

PRISM = ("-m", "prism.cli")

StartProxy = Callable[..., Server]
Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Parent of the proxies' socket directories, with a short path."""
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        yield Path(folder)


@pytest.fixture
def start_proxy(start_server: Callable[..., Server], sockets: Path) -> StartProxy:
    """Start a proxy on free ports, without waiting until it serves."""

    def start(*args: str) -> Server:
        return start_server(*args, env={"XDG_RUNTIME_DIR": str(sockets)}, kind=ProxyServer)

    return start


class Command:
    """The command `prism`, with the address of a proxy."""

    def __init__(self, address: str) -> None:
        self._environment = {
            **{name: v for name, v in os.environ.items() if not name.startswith("PRISM_")},
            "PRISM_ADDRESS": address,
        }

    def __call__(self, *arguments: str) -> Ended:
        return subprocess.run(
            [COMMANDS.program, *arguments],
            stdin=subprocess.DEVNULL,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command, and return its process, whose output is a pipe."""
        return subprocess.Popen(
            [sys.executable, *PRISM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=self._environment,
            text=True,
        )

    def said(self, *arguments: str) -> str:
        """Run a command that succeeds, and return its output."""
        ended = self(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments, "--json"))

    def pattern(self, name: str) -> Any:
        """Return one pattern of `prism patterns list`."""
        found = self.json("patterns", "list")["patterns"]
        return next(each for each in found if each["name"] == name)


PrismAt = Callable[[str], Command]


@pytest.fixture
def prism_at() -> PrismAt:
    return Command


TWO_MEMSTORES = ("--pattern", "a=memstore", "--pattern", "b=memstore")


@pytest.fixture
def proxy(start_proxy: StartProxy) -> Server:
    """Serving proxy with the memstores `a` and `b`; it must end with status 0."""
    return start_proxy(*TWO_MEMSTORES).serving()


@pytest.fixture
def prism(proxy: Server) -> Command:
    return Command(proxy.address)


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The same for a shared proxy, for tests that do not change it."""
    ports = ("--grpc-port", "0", "--metrics-port", "0")
    proxy = ProxyServer((*ports, *TWO_MEMSTORES), {}, tmp_path_factory.mktemp("looking"))
    try:
        yield Command(proxy.serving().address)
        proxy.stop()
    finally:
        proxy.close()
