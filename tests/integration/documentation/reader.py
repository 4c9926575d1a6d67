"""Follows a documentation page from the first block to the last, as a reader would."""

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
    commands,
    expected_lines,
    matches,
)
from tests.integration.documentation.shell import Shell, clean_environment

SERVES = re.compile(r"(\S*python -m prism\.bootstrap|prism serve|prism proxy)\b(?!.*--help)")
ADDRESS = "127.0.0.1:9090"

StartServer = Callable[..., Any]


class Reader:
    """Types the commands into one shell, runs the programs, and keeps one server running.

    A server that the page starts gets free ports, and replaces the one before.

    Args:
        folder: working directory of the shell, and folder of the page's files.
        start_server: starts a server.
        shell: shell for the commands.
        replacements: texts of the page, such as addresses and durations, with replacements.
        env: environment variables of the servers.
    """

    def __init__(
        self,
        folder: Path,
        start_server: StartServer,
        shell: Shell,
        replacements: Mapping[str, str],
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._start_server = start_server
        self._shell = shell
        self._replacements = dict(replacements)
        self._env = dict(env or {})
        self._server: Any = None

    def read(self, block: Block) -> None:
        """Follow the block; fail unless it prints what the page states."""
        if block.file is not None:
            file = self._folder / block.file
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(self._with_replacements(block.text))
        elif block.language == "python":
            self._run_program(block)
        elif block.language == "sh":
            for command in commands(block):
                self._type(command, block.place)

    def _run_program(self, block: Block) -> None:
        self._ensure_server()
        # In this environment: the variables that a page sets in its shell are not needed.
        done = subprocess.run(
            [sys.executable, "-c", self._with_replacements(block.text)],
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, f"{block.place}:\n{done.stdout}{done.stderr}"
        expected = expected_lines(block)
        lines = done.stdout.splitlines()
        assert not expected or len(lines) == len(expected), f"{block.place} printed:\n{done.stdout}"
        for line, each in zip(lines, expected, strict=False):
            assert matches(line, each), f"{block.place} printed {line!r}, expected {each!r}"

    def _type(self, command: Command, place: str) -> None:
        text = command.text
        if text.startswith("make "):
            # The commands before it create what this folder has, and the folder of the keys.
            (self._folder / "data").mkdir(exist_ok=True)
            text = _last_command_of_make(text)
            if not SERVES.match(text):
                return
        if SERVES.match(text):
            self._serve(text)
            return
        self._ensure_server()
        result = self._shell.run(self._with_replacements(text))
        assert result.status == 0, f"{place}: {text}\n{result.output}"
        if command.prints is not None:
            assert matches(result.output, command.prints), (
                f"{place}: {text}\nprinted {result.output!r}, expected {command.prints!r}"
            )

        if "lifecycle stop" in text:
            assert self._server.wait() == 0
            self._server = None

    def _serve(self, command: str) -> None:
        if self._server is not None:
            self._server.stop()
        called = SERVES.match(command)
        assert called is not None
        arguments = shlex.split(self._with_replacements(command[called.end() :]))
        # As variables, so that flags of the page override them.
        free_ports = {"PRISM_GRPC_PORT": "0", "PRISM_METRICS_PORT": "0"}
        self._server = self._start_server(
            *arguments,
            env={**self._env, **free_ports},
            free_ports=False,
            kind=ProxyServer if called[1] == "prism proxy" else Server,
        ).serving()
        self._shell.run(f"export PRISM_ADDRESS={self._server.address}")

    def _ensure_server(self) -> None:
        """Start a memstore server if none runs: a page may assume that its reader has one."""
        if self._server is None:
            self._serve("prism serve")

    def _with_replacements(self, text: str) -> str:
        replacements = dict(self._replacements)
        if self._server is not None:
            replacements[ADDRESS] = self._server.address
        for old, new in replacements.items():
            text = text.replace(old, new)
        return text


def _last_command_of_make(command: str) -> str:
    """Return the last command that `make` would run for this target."""
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
