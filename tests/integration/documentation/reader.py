"""A reader who does what a page says, from its first block to its last."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.integration.conftest import ProxyServer, Server
from tests.integration.documentation.pages import (
    ROOT,
    Block,
    Command,
    agrees,
    commands,
    printed,
)
from tests.integration.documentation.shell import Shell, clean_environment

SERVES = re.compile(r"(\S*python -m prism\.bootstrap|prism serve|prism proxy)\b(?!.*--help)")
ADDRESS = "127.0.0.1:9090"

StartServer = Callable[..., Any]


class Reader:
    """Types the commands into one shell, runs the programs, and keeps a server up.

    Whatever a page serves is started on free ports, in place of what was served before.

    Args:
        folder: where the shell begins, and where the page's files go.
        instead: what is read for what a page says: addresses, and durations.
        env: variables of the servers.
    """

    def __init__(
        self,
        folder: Path,
        start_server: StartServer,
        shell: Shell,
        instead: Mapping[str, str],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._start_server = start_server
        self._shell = shell
        self._instead = dict(instead)
        self._env = dict(env or {})
        self._server: Any = None

    def read(self, block: Block) -> None:
        """Do what it says; what it says is printed must be."""
        if block.file is not None:
            file = self._folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._here(block.text))
        elif block.language == "python":
            self._run_program(block)
        elif block.language == "sh":
            for command in commands(block):
                self._type(command, block.place)

    def _run_program(self, block: Block) -> None:
        self._served()
        # As a shell would: with the variables that the page has set, none as a rule.
        ended = subprocess.run(
            [sys.executable, "-c", self._here(block.text)],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert ended.returncode == 0, f"{block.place}:\n{ended.stdout}{ended.stderr}"
        said = printed(block)
        lines = ended.stdout.splitlines()
        assert not said or len(lines) == len(said), f"{block.place} printed:\n{ended.stdout}"
        for line, each in zip(lines, said, strict=False):
            assert agrees(line, each), f"{block.place} printed {line!r} and says {each!r}"

    def _type(self, command: Command, place: str) -> None:
        text = command.text
        if text.startswith("make "):
            text = _made(text)
            if not SERVES.match(text):
                return
        if SERVES.match(text):
            self._serve(text)
            return
        self._served()
        said = self._shell.run(self._here(text))
        assert said.status == 0, f"{place}: {text}\n{said.output}"
        if command.prints is not None:
            assert agrees(said.output, command.prints), (
                f"{place}: {text}\nprinted {said.output!r}, and the page says {command.prints!r}"
            )

        if "lifecycle stop" in text:
            assert self._server.wait() == 0
            self._server = None

    def _serve(self, command: str) -> None:
        if self._server is not None:
            self._server.stop()
        called = SERVES.match(command)
        assert called is not None
        arguments = shlex.split(self._here(command[called.end() :]))
        # Among the variables, for a flag of the page is what it says.
        free = {"PRISM_GRPC_PORT": "0", "PRISM_METRICS_PORT": "0"}
        self._server = self._start_server(
            *arguments,
            env={**self._env, **free},
            free_ports=False,
            kind=ProxyServer if called[1] == "prism proxy" else Server,
        ).serving()
        self._shell.run(f"export PRISM_ADDRESS={self._server.address}")

    def _served(self) -> None:
        """A page may have its reader start a server by hand; then one of memstore is there."""
        if self._server is None:
            self._serve("prism serve")

    def _here(self, text: str) -> str:
        told = dict(self._instead)
        if self._server is not None:
            told[ADDRESS] = self._server.address
        for said, real in told.items():
            text = text.replace(said, real)
        return text


def _made(command: str) -> str:
    """The last command that `make` would run: it knows the target, and everything before it."""
    target = shlex.split(command, comments=True)[1:]
    dry = subprocess.run(
        ["make", "--dry-run", "-C", str(ROOT), *target],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert dry.returncode == 0, f"{command}:\n{dry.stderr}"
    return [line for line in dry.stdout.splitlines() if not line.startswith("make")][-1]
