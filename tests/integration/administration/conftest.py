"""Proxies in processes of their own, and `prism patterns` pointed at them."""

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

from tests.integration.conftest import ProxyServer, Server

PRISM = ("-m", "prism.cli")

StartProxy = Callable[..., Server]
Ended = subprocess.CompletedProcess[str]


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Where proxies make their folders; near the root, as the paths of sockets are short."""
    with tempfile.TemporaryDirectory(prefix="p-") as folder:
        yield Path(folder)


@pytest.fixture
def start_proxy(start_server: Callable[..., Server], sockets: Path) -> StartProxy:
    """Start a proxy on free ports; it need not get as far as to serve."""

    def start(*args: str) -> Server:
        return start_server(*args, env={"XDG_RUNTIME_DIR": str(sockets)}, kind=ProxyServer)

    return start


class Command:
    """`prism`, pointed at a proxy."""

    def __init__(self, address: str) -> None:
        self._environment = {
            **{name: v for name, v in os.environ.items() if not name.startswith("PRISM_")},
            "PRISM_ADDRESS": address,
        }

    def __call__(self, *arguments: str) -> Ended:
        return subprocess.run(
            [sys.executable, *PRISM, *arguments],
            stdin=subprocess.DEVNULL,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """The process, running; what it writes is to be read from its pipe."""
        return subprocess.Popen(
            [sys.executable, *PRISM, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=self._environment,
            text=True,
        )

    def said(self, *arguments: str) -> str:
        """What a command that succeeds writes."""
        ended = self(*arguments)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.said(*arguments, "--json"))

    def pattern(self, name: str) -> Any:
        """One, out of the list of all."""
        found = self.json("patterns", "list")["patterns"]
        return next(each for each in found if each["name"] == name)


@pytest.fixture
def prism_at() -> Callable[[str], Command]:
    return Command


TWO_MEMSTORES = ("--pattern", "a=memstore", "--pattern", "b=memstore")


@pytest.fixture
def proxy(start_proxy: StartProxy) -> Server:
    """With two memstores, `a` and `b`; it serves, and ends with status 0."""
    return start_proxy(*TWO_MEMSTORES).serving()


@pytest.fixture
def prism(proxy: Server) -> Command:
    return Command(proxy.address)


@pytest.fixture(scope="module")
def looking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """`prism`, pointed at a proxy of the same kind, for tests that leave it as they found it."""
    ports = ("--grpc-port", "0", "--metrics-port", "0")
    proxy = ProxyServer((*ports, *TWO_MEMSTORES), {}, tmp_path_factory.mktemp("looking"))
    try:
        yield Command(proxy.serving().address)
        proxy.stop()
    finally:
        proxy.close()
