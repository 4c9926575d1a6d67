"""A server at a terminal logs for people, and elsewhere for programs."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = [sys.executable, "-m", "prism.bootstrap", "--grpc-port", "0", "--metrics-port", "0"]


def first_line(tmp_path: Path, *arguments: str, variables: dict[str, str]) -> str:
    """Return what a server logs first on a terminal."""
    ours, theirs = pty.openpty()
    clean = {name: text for name, text in os.environ.items() if not name.startswith("PRISM_")}
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=tmp_path,
        env={**clean, "NO_COLOR": "1", **variables},
        stdin=subprocess.DEVNULL,
        stderr=theirs,
    )
    os.close(theirs)
    try:
        with os.fdopen(ours, encoding="utf-8") as terminal:
            line = terminal.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
    return line


def test_a_log_on_a_terminal_is_for_people(tmp_path: Path) -> None:
    line = first_line(tmp_path, variables={})
    assert not line.startswith("{")
    assert "starting" in line


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [(["--log-format", "json"], {}), ([], {"PRISM_LOG_FORMAT": "json"})],
)
def test_a_log_on_a_terminal_is_for_programs_on_request(
    tmp_path: Path, arguments: list[str], variables: dict[str, str]
) -> None:
    assert first_line(tmp_path, *arguments, variables=variables).startswith("{")
