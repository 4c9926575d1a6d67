"""A shell that runs one command after another."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

# An ASCII character that no command prints.
_END = "\x1e"


# Variables of the test run, by make and pytest, that the commands must not see.
_DROPPED_PREFIXES = ("PRISM_", "PYTEST", "ARGS", "MAKE", "MFLAGS")


def clean_environment() -> dict[str, str]:
    """Return the environment without the variables of this test run."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_DROPPED_PREFIXES)}


class Result(NamedTuple):
    """Result of a command.

    Attributes:
        output: stdout and stderr together.
        status: exit status.
    """

    output: str
    status: int


class Shell:
    """A bash process: working directory, variables and functions persist between commands."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env={**clean_environment(), **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command: str) -> Result:
        """Run a command and wait for its end."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        # With its own input, so that the command does not read the commands after it.
        stdin.write(f"{{ {command}\n}} < /dev/null; printf '{_END}%d\\n' $?\n")
        stdin.flush()
        output = ""
        for line in stdout:
            before, end, status = line.partition(_END)
            output += before
            if end:
                return Result(output.strip("\n"), int(status))
        raise AssertionError(f"the shell ended at {command!r}:\n{output}")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)
