"""A server in a process of its own, which tests may pause, kill and start again."""

from __future__ import annotations

import asyncio
import os
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

PATIENCE_S = 30.0
"""Nothing here takes this long, on whichever machine."""

_POLL_S = 0.01


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ServerProcess:
    """Implements `prism.testing.BackendServer`; a context manager that cleans up.

    A subclass says what to run, and when it is up.
    """

    name: str

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"prism-{self.name}-"))
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> Sequence[str]:
        """What to run. It keeps its data in `self.folder`, and in the foreground."""
        raise NotImplementedError

    def is_up(self) -> bool:
        """Whether it answers."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.name} is not running"
        return self._process.pid

    @property
    def log(self) -> str:
        """What it has printed."""
        return (self.folder / "log").read_text(errors="replace")

    def launch(self) -> None:
        """Start it, and return when it is up."""
        with (self.folder / "log").open("ab") as output:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_up():
            ended = self._process.poll()
            if ended is not None or time.monotonic() > deadline:
                how = "did not come up" if ended is None else f"ended with status {ended}"
                raise RuntimeError(f"{self.name} on port {self.port} {how}:\n{self.log}")
            time.sleep(_POLL_S)

    def close(self) -> None:
        """End it in whichever state it is, and remove its files."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def pause(self) -> None:
        self._signal(signal.SIGSTOP)
        # Its threads stop one after another, and may answer until all have.
        await asyncio.to_thread(os.waitid, os.P_PID, self.pid, os.WSTOPPED)

    async def resume(self) -> None:
        self._signal(signal.SIGCONT)

    async def kill(self) -> None:
        self._signal(signal.SIGKILL)
        assert self._process is not None
        await asyncio.to_thread(self._process.wait, PATIENCE_S)

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
