"""`prism` commands that run in forks of a process which has imported what they need.

A new interpreter takes a quarter of a second of processor time until it runs a command, a fork some
milliseconds. Tests of how a process starts and ends start real ones.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

_HERE = Path(__file__).parent


class ForkedCommands:
    """The command `prism`; the process that forks is started by the first use."""

    def __init__(self) -> None:
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._server: subprocess.Popen[bytes] | None = None

    @property
    def folder(self) -> Path:
        """Folder with the executable file `prism`, for a PATH."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="prism-commands-")
            self._start(Path(self._folder.name))
        return Path(self._folder.name)

    @property
    def program(self) -> str:
        """Path of the executable file `prism`."""
        return str(self.folder / "prism")

    def _start(self, folder: Path) -> None:
        socket = folder / "socket"
        # -I and -S: the caller imports nothing that is not built in.
        caller = (sys.executable, "-I", "-S", str(_HERE / "caller.py"), str(socket))
        program = folder / "prism"
        program.write_text(f'#!/bin/sh\nexec {shlex.join(caller)} "$@"\n')
        program.chmod(0o755)
        self._server = subprocess.Popen(
            [sys.executable, str(_HERE / "server.py"), str(socket)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._server.stdout is not None
        assert self._server.stdout.readline() == b"ready\n", "the server of commands did not start"

    def close(self) -> None:
        """End the process, and remove its files."""
        if self._server is not None:
            assert self._server.stdin is not None
            assert self._server.stdout is not None
            # It ends when it reads the end of its input, as it does when this process is killed.
            self._server.stdin.close()
            self._server.stdout.close()
            self._server.wait(30)
        if self._folder is not None:
            self._folder.cleanup()


COMMANDS = ForkedCommands()
"""Those of this process; a fixture closes them."""
