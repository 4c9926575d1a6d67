"""When pytest is interrupted or killed at level 3, its proxy ends too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.servers.process import TIMEOUT_S

BINDING = """
import asyncio
from pathlib import Path

import pytest
from prism.testing.levels import through_proxy

@pytest.mark.asyncio
async def test_hang():
    async with through_proxy("memstore")():
        Path("reached").touch()
        await asyncio.sleep(3600)
"""


@pytest.fixture
def sockets() -> Iterator[Path]:
    """Folder for the proxy's sockets, with a short path because socket paths are limited."""
    with TemporaryDirectory(prefix="p-") as folder:
        yield Path(folder)


@pytest.fixture
def run(tmp_path: Path, sockets: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A pytest process whose test is running."""
    (tmp_path / "test_binding.py").write_text(BINDING)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={**os.environ, "XDG_RUNTIME_DIR": str(sockets)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_until((tmp_path / "reached").exists)
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_process_and_no_folder_is_left(
    run: subprocess.Popen[bytes], sockets: Path, number: signal.Signals
) -> None:
    assert len(_processes_of(sockets)) == 3, "expected pytest, the proxy and its pattern"
    (folder,) = sockets.iterdir()
    run.send_signal(number)
    run.wait(TIMEOUT_S)
    _wait_until(lambda: not folder.exists())
    _wait_until(lambda: not _processes_of(sockets))


def _processes_of(folder: Path) -> list[int]:
    """Return the processes with the folder in their environment or command line."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(folder) in text:
            found.append(int(process.name))
    return found


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
