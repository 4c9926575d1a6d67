"""One shell that a reader types into, command after command."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

# Of ASCII, and nothing prints it.
_END = "\x1e"


# Who runs these tests by `make` has given that arguments, which are not for the reader's.
_NOT_THE_READERS = ("PRISM_", "PYTEST", "ARGS", "MAKE", "MFLAGS")


def clean_environment() -> dict[str, str]:
    """What a reader has who did nothing yet."""
    return {k: v for k, v in os.environ.items() if not k.startswith(_NOT_THE_READERS)}


class Said(NamedTuple):
    """What a command printed, on stdout and stderr together, and its exit status."""

    output: str
    status: int


class Shell:
    """A bash whose folder, variables and functions last from command to command."""

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

    def run(self, command: str) -> Said:
        """Type it, and wait until it has ended."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        # In braces, so that what it reads from is not what we type.
        stdin.write(f"{{ {command}\n}} < /dev/null; printf '{_END}%d\\n' $?\n")
        stdin.flush()
        output = ""
        for line in stdout:
            before, end, status = line.partition(_END)
            output += before
            if end:
                return Said(output.strip("\n"), int(status))
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
