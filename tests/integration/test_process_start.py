"""The first moments of a process: early signals, closed streams, files in the working directory."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import TIMEOUT_S, ProxyServer

Start = Callable[..., Any]

PRISM = (sys.executable, "-m", "prism.cli")
_PORTS = ("--grpc-port", "0", "--metrics-port", "0")
_NAMESPACE = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")


def _can_unshare() -> bool:
    try:
        return subprocess.run([*_NAMESPACE, "true"], capture_output=True).returncode == 0
    except OSError:
        return False


def _child_of(process: subprocess.Popen[bytes]) -> int:
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    deadline = time.monotonic() + TIMEOUT_S
    while not (found := children.read_text().split()):
        assert time.monotonic() < deadline, "unshare starts no child"
        time.sleep(0.001)
    return int(found[0])


@pytest.mark.skipif(not _can_unshare(), reason="needs the right to make a PID namespace")
@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.2, 0.5])
def test_process_1_ends_in_order_however_early_sigterm_arrives(
    tmp_path: Path, after_s: float
) -> None:
    # As in the image: SIGTERM waits, and is not ignored, until there is a handler.
    command = (*_NAMESPACE, "env", "--block-signal=TERM", sys.executable, "-P")
    process = subprocess.Popen(
        [*command, "-m", "prism.bootstrap", *_PORTS], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        child = _child_of(process)
        while Path(f"/proc/{child}/comm").read_text().strip() in ("unshare", "env"):
            time.sleep(0.001)
        time.sleep(after_s)
        os.kill(child, signal.SIGTERM)
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()


def test_sighup_drains_and_ends_with_status_0(server: Any) -> None:
    server.signal(signal.SIGHUP)
    assert server.wait() == 0
    assert "drained" in server.log


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_server_with_closed_streams_serves_and_ends_in_order(tmp_path: Path, closed: str) -> None:
    socket = tmp_path / "prism.sock"
    command = [*PRISM, "serve", "--metrics-port", "0", "--grpc-socket", str(socket)]
    script = f"exec {shlex.join(command)} {closed}"
    process = subprocess.Popen(["sh", "-c", script], stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        health = [*PRISM, "health", "--address", f"unix:{socket}"]
        deadline = time.monotonic() + TIMEOUT_S
        while subprocess.run(health, capture_output=True).returncode:
            assert time.monotonic() < deadline, "the server does not serve"
        process.terminate()
        assert process.wait(TIMEOUT_S) == 0
    finally:
        process.kill()
        process.wait()


def test_a_client_with_closed_stdout_succeeds_and_prints_nothing(shared_server: Any) -> None:
    for args in (("set", "closed", "v"), ("get", "closed")):
        command = shlex.join([*PRISM, "kv", args[0], "--address", shared_server.address, *args[1:]])
        done = subprocess.run(["sh", "-c", f"exec {command} >&-"], capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("module", ["prism.bootstrap", "prism.cli"])
def test_files_in_the_working_directory_do_not_run(tmp_path: Path, module: str) -> None:
    for name in ("uvloop", "yaml", "typer", "h2corn"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('planted')\n")
    args = ["--version"] if module == "prism.cli" else ["--driver", "absent"]
    done = subprocess.run(
        [sys.executable, "-m", module, *args], cwd=tmp_path, capture_output=True, text=True
    )
    assert "planted" not in done.stderr
    assert done.returncode in (0, 2)


def test_a_pattern_runs_no_file_of_the_proxys_folder(start_server: Start, tmp_path: Path) -> None:
    (tmp_path / "uvloop.py").write_text("raise SystemExit('planted')\n")
    proxy = start_server("--pattern", "cache=memstore", kind=ProxyServer).serving()
    assert "planted" not in proxy.log
