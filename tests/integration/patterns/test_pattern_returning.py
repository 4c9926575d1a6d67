"""A pattern whose proxy disappears, for a moment or finally."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

import prism
from prism.ports import State
from prism.v1 import lifecycle_pb2 as lpb
from tests.integration.conftest import PACKAGES, Server
from tests.servers.fake_proxy import SESSION, TOKEN, FakeProxy
from tests.servers.process import TIMEOUT_S

Start = Callable[..., Server]

_HERE = Path(__file__).parent

_IMPORTING = """
import sys, time
sys.stderr.write('{"level": "info", "message": "hanging"}\\n')
sys.stderr.flush()
time.sleep(3600)
"""


async def test_pattern_returns_with_its_session_when_the_proxy_is_back(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    await proxy.stop()
    async with prism.connect(stream.registration.data_address) as kv:
        await kv.set("served", b"meanwhile")
    await proxy.start()
    again = await proxy.stream()
    assert again.credential == SESSION
    assert again.registration.state == lpb.LIFECYCLE_STATE_RUNNING
    assert (await again.check_health()).details["keys"] == "1"


async def test_command_survives_a_broken_control_stream(
    proxy: FakeProxy, start_pattern: Start, tmp_path: Path
) -> None:
    opening = tmp_path / "open"
    pattern = start_pattern("--driver", "slow")
    stream = await proxy.stream()
    settings = {"opened_by": str(opening)}
    async with stream.commands() as lifecycle:
        initializing = asyncio.create_task(lifecycle.initialize(settings))
        await asyncio.to_thread(pattern.wait_for, "initializing")
        await proxy.stop()
        await proxy.start()
        again = await proxy.stream()
        opening.touch()
        await initializing
    async with again.commands() as lifecycle:
        await lifecycle.initialize(settings)
        assert await lifecycle.state() is State.INITIALIZED
    assert pattern.log.count('"initializing"') == 1


async def test_numbers_of_debug_events_go_on_after_a_return(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    await stream.debug_event(lambda event: event.details["state"] == "running")
    await proxy.stop()
    await proxy.start()
    again = await proxy.stream()
    async with again.commands() as lifecycle:
        await lifecycle.stop()
    await again.debug_event(lambda event: event.details["state"] == "stopped")
    numbers = {event.sequence for event in (*stream.debug_events, *again.debug_events)}
    assert numbers == set(range(1, len(numbers) + 1))


async def test_silence_of_the_proxy_makes_a_pattern_open_a_new_stream(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    proxy.interval = timedelta(seconds=0.2)
    start_pattern()
    stream = await proxy.stream()
    proxy.silent = True
    await stream.ended.wait()
    proxy.silent = False
    assert (await proxy.stream()).credential == SESSION


async def test_refused_return_ends_a_pattern(proxy: FakeProxy, start_pattern: Start) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    await proxy.stop()
    proxy.refusal = (grpc.StatusCode.UNAUTHENTICATED, "there is no such session")
    await proxy.start()
    error = await asyncio.to_thread(pattern.wait_for, "the proxy at")
    assert "there is no such session" in error["message"]
    await asyncio.to_thread(pattern.wait_for, "drained")
    assert await asyncio.to_thread(pattern.wait) == 1


async def test_pattern_drains_and_exits_with_0_when_the_proxy_is_gone(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern()
    await (await proxy.stream()).start_driver()
    await proxy.stop()
    event = await asyncio.to_thread(pattern.wait_for, "shutting down")
    assert f"the proxy at {proxy.address} is gone" in event["message"]
    await asyncio.to_thread(pattern.wait_for, "drained")
    assert await asyncio.to_thread(pattern.wait) == 0


async def test_proxy_that_never_answers_is_an_error(socket_dir: Path, start_server: Start) -> None:
    address = f"unix:{socket_dir}/nobody.sock"
    pattern = start_server("--proxy-address", address, "--proxy-token", TOKEN, free_ports=False)
    error = await asyncio.to_thread(pattern.wait_for, "no proxy answered")
    assert address in error["message"]
    assert await asyncio.to_thread(pattern.wait) == 1


async def test_end_of_the_pipe_ends_a_pattern(proxy: FakeProxy, start_pattern: Start) -> None:
    reading, writing = os.pipe()
    try:
        pattern = start_pattern("--proxy-fd", str(reading), token=None, pass_fds=(reading,))
        os.write(writing, f"{TOKEN}\n".encode())
        stream = await proxy.stream()
        assert stream.credential == TOKEN
        await stream.start_driver()
    finally:
        os.close(reading)
        os.close(writing)
    await asyncio.to_thread(pattern.wait_for, "the process of the proxy has ended")
    await asyncio.to_thread(pattern.wait_for, "drained")
    assert await asyncio.to_thread(pattern.wait) == 0


def test_end_of_the_pipe_before_the_token_ends_a_pattern(start_pattern: Start) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    try:
        pattern = start_pattern("--proxy-fd", str(reading), token=None, pass_fds=(reading,))
    finally:
        os.close(reading)
    # SIGTERM is not handled yet.
    assert pattern.wait() == 0


@pytest.mark.parametrize("driver", ["mute", "importing"])
def test_end_of_the_pipe_ends_a_pattern_that_hangs_before_it_has_an_event_loop(
    start_server: Start, importing: Path, driver: str
) -> None:
    """It hangs in the driver's constructor, or in the import of its module."""
    reading, writing = os.pipe()
    try:
        pattern = start_server(
            *("--driver", driver, "--proxy-address", "unix:/nowhere"),
            *("--proxy-fd", str(reading)),
            env={"PYTHONPATH": f"{PACKAGES}:{importing}"},
            pass_fds=(reading,),
        )
        pattern.wait_for("hanging")
        os.write(writing, f"{TOKEN}\n".encode())
    finally:
        os.close(reading)
        os.close(writing)
    assert pattern.wait() == 0


@pytest.fixture
def importing(tmp_path: Path) -> Path:
    """Folder with a driver whose import never ends; no other test may list it."""
    installed = tmp_path / "importing-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: importing\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[prism.drivers]\nimporting = importing:DRIVER\n")
    (tmp_path / "importing.py").write_text(_IMPORTING)
    return tmp_path


def test_closed_descriptor_is_an_error(start_pattern: Start) -> None:
    pattern = start_pattern("--proxy-fd", "77", token=None)
    assert pattern.wait() != 0
    assert "proxy_fd is 77" in pattern.log
    assert "Traceback" not in pattern.log


async def test_pattern_ends_when_its_launcher_is_killed(proxy: FakeProxy, socket_dir: Path) -> None:
    launcher = subprocess.Popen(  # noqa: ASYNC220  (quick)
        (sys.executable, _HERE / "launcher.py", proxy.address, socket_dir / "data", TOKEN),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        await (await proxy.stream()).start_driver()
    finally:
        launcher.kill()
    # Launcher and pattern print to one pipe, which ends when both have ended.
    printed, _ = await asyncio.to_thread(launcher.communicate, timeout=TIMEOUT_S)
    assert b"the process of the proxy has ended" in printed
    assert b"drained" in printed


def test_pattern_with_a_stuck_loop_ends_with_its_proxy() -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        (sys.executable, _HERE / "hung.py", str(reading)),
        stdout=subprocess.PIPE,
        pass_fds=(reading,),
    ) as process:
        os.close(reading)
        os.write(writing, b"token\n")
        assert process.stdout is not None
        assert process.stdout.readline() == b"stuck\n"
        os.close(writing)
        assert process.wait(TIMEOUT_S) == 1
