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


def test_sighup_reads_files_again_and_ends_no_server(server: Any) -> None:
    for _ in range(3):
        server.signal(signal.SIGHUP)
        server.wait_for("SIGHUP: certificates, secrets and the policy are read again")
    server.stop()


def test_sighup_in_the_first_moments_ends_no_server(start_server: Start) -> None:
    server = start_server()
    # Any time before the handlers: the interpreter itself still ends at SIGHUP.
    while b"-m" not in Path(f"/proc/{server.process.pid}/cmdline").read_bytes():
        time.sleep(0.001)
    server.wait_for("starting")
    server.signal(signal.SIGHUP)
    server.serving()


def test_a_server_whose_terminal_is_closed_drains_and_ends(tmp_path: Path) -> None:
    terminal, other = os.openpty()
    log = tmp_path / "log"
    script = f'exec "$0" -m prism.cli serve {shlex.join(_PORTS)} 2>{log}'
    process = subprocess.Popen(
        ["setsid", "--ctty", "--wait", "sh", "-c", script, sys.executable],
        stdin=other,
        stdout=other,
        cwd=tmp_path,
    )
    os.close(other)
    try:
        deadline = time.monotonic() + TIMEOUT_S
        while not log.exists() or "serving" not in log.read_text():
            assert time.monotonic() < deadline, "the server does not serve"
            time.sleep(0.02)
        os.close(terminal)
        assert process.wait(TIMEOUT_S) == 0
        assert "shutting down: SIGHUP" in log.read_text()
    finally:
        process.kill()
        process.wait()


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


@pytest.mark.parametrize("args", [["--version"], ["--help"], ["drivers"]])
def test_output_that_cannot_be_written_is_one_line_of_an_error(args: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PRISM, *args], stdout=full, stderr=subprocess.PIPE, text=True)
    assert (done.returncode, done.stderr) == (1, "prism: No space left on device\n")


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
