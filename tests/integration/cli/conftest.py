"""The command line as a user runs it: a process that calls a server."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

import pytest

from tests.commands import COMMANDS

PRISM = [sys.executable, "-c", "from prism.cli import main; main()"]


@dataclass(frozen=True)
class CommandLine:
    """`prism` with PRISM_ADDRESS set."""

    address: str

    def __call__(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command in a fork of a process that has imported it, and wait for its end."""
        return subprocess.run(
            [COMMANDS.program, *arguments],
            input=stdin,
            env=self._environment(),
            capture_output=True,
            check=False,
            timeout=60,
        )

    def begin(
        self, *arguments: str, stdin: int | IO[bytes] = subprocess.PIPE
    ) -> subprocess.Popen[bytes]:
        """Start a command in a new interpreter; return its process, with pipes as its output."""
        return subprocess.Popen(
            [*PRISM, *arguments],
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self._environment(),
        )

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PRISM_ADDRESS": self.address}


@pytest.fixture
def cli_at() -> Callable[[str], CommandLine]:
    return CommandLine


@pytest.fixture
def cli(server: Any) -> CommandLine:
    """Command line that calls a server of this test."""
    return CommandLine(server.address)
