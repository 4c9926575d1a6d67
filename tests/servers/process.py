"""Base class of server processes that tests can pause, kill and start again."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

TIMEOUT_S = 30.0
"""Time limit of every wait, far beyond what a slow machine needs."""

_POLL_S = 0.01


_NAMED_PORTS = range(20_000, 32_000)
"""Ports that the system gives to nobody who does not name them.

It gives those above to connections, and to listeners at port 0: at any time, also between the
choice of a port and the start of its server, or while a server is started again.
"""

# Each process begins elsewhere, so that no two choose the same.
_BEGIN = random.SystemRandom().randrange(len(_NAMED_PORTS))
_PORTS = itertools.cycle([*_NAMED_PORTS[_BEGIN:], *_NAMED_PORTS[:_BEGIN]])


def free_port() -> int:
    """Return a loopback port that is free, also for a server that is started later."""
    port: int
    for port in _PORTS:
        with socket.socket() as probe, contextlib.suppress(OSError):
            # As servers do: connections of a port that have ended do not matter.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("127.0.0.1", port))
            return port
    raise AssertionError("unreachable: the ports are a cycle")


class ServerProcess:
    """Server process; implements `prism.testing.BackendServer`.

    As a context manager it launches the server, and ends it and removes its files.
    A subclass defines the command and the readiness check.

    Attributes:
        name: name of the server, for messages.
        port: port to listen on.
        folder: folder for data and log.
        start_timeout_s: time in seconds from the launch to the first answer.
    """

    name: str
    start_timeout_s = TIMEOUT_S

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"prism-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """Return the command; it runs in the foreground and keeps its data in `self.folder`."""
        raise NotImplementedError

    def is_up(self) -> bool:
        """Return whether the server answers."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """Output so far."""
        return (self.folder / "log").read_text(errors="replace")

    def launch(self) -> None:
        """Start the server and wait until it answers.

        Raises:
            RuntimeError: the server ended or did not answer in time; with its output.
        """
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + self.start_timeout_s
        while not self.is_up():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                how = "did not start in time" if ended is None else f"ended with status {ended}"
                raise RuntimeError(f"{self.name} on port {self.port} {how}:\n{self.log}")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """Kill the server if it runs, and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(TIMEOUT_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        # Wait, because threads stop one by one and may answer until the last has stopped.
        await asyncio.to_thread(os.waitid, os.P_PID, self.pid, os.WSTOPPED)

    async def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        await asyncio.to_thread(self._process.wait, TIMEOUT_S)

    async def start(self) -> None:
        await asyncio.to_thread(self.launch)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, f"{self.name} is not running"
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        try:
            self.launch()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
