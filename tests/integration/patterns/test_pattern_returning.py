"""A pattern whose proxy goes away, for a moment or for good."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest

import prism
from prism.v1 import lifecycle_pb2 as lpb
from tests.integration.conftest import PACKAGES
from tests.servers.fake_proxy import SESSION, TOKEN, FakeProxy
from tests.servers.process import PATIENCE_S

Start = Callable[..., Any]

_FOLDER = Path(__file__).parent

_IMPORTING = """
import sys, time
sys.stderr.write('{"level": "info", "message": "hanging"}\\n')
sys.stderr.flush()
time.sleep(3600)
"""


async def test_it_returns_with_its_session_when_the_proxy_is_back(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start()
    await proxy.stop()
    async with prism.connect(stream.registration.data_address) as kv:
        await kv.set("served", b"meanwhile")
    await proxy.start()
    again = await proxy.stream()
    assert again.shown == SESSION
    assert again.registration.state == lpb.LIFECYCLE_STATE_RUNNING
    health = await again.command(3, health_check=lpb.HealthCheckRequest())
    assert health.health_check.details["keys"] == "1"


async def test_what_was_commanded_before_is_answered_after_it_returned(
    proxy: FakeProxy, start_pattern: Start, tmp_path: Path
) -> None:
    opening = tmp_path / "open"
    pattern = start_pattern("--driver", "slow")
    stream = await proxy.stream()
    initialize = lpb.InitializeRequest(settings={"opened_by": str(opening)})
    stream.send(1, initialize=initialize)
    await asyncio.to_thread(pattern.wait_for, "initializing")
    await proxy.stop()
    await proxy.start()
    again = await proxy.stream()
    again.send(1, initialize=initialize)
    opening.touch()
    assert (await again.result(1)).initialize.state == lpb.LIFECYCLE_STATE_INITIALIZED
    assert pattern.log.count('"initializing"') == 1


async def test_debug_events_go_on_where_they_were(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start()
    await stream.told_of(lambda event: event.details["state"] == "running")
    await proxy.stop()
    await proxy.start()
    again = await proxy.stream()
    await again.command(3, stop=lpb.StopRequest())
    await again.told_of(lambda event: event.details["state"] == "stopped")
    numbers = {event.sequence for event in (*stream.told, *again.told)}
    assert numbers == set(range(1, len(numbers) + 1))


async def test_a_silent_proxy_is_called_anew(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    proxy.silent = True
    await stream.ended.wait()
    proxy.silent = False
    assert (await proxy.stream()).shown == SESSION


async def test_a_proxy_that_does_not_know_it_any_more_ends_it(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    await stream.start()
    await proxy.stop()
    proxy.refusal = (grpc.StatusCode.UNAUTHENTICATED, "there is no such session")
    await proxy.start()
    error = await asyncio.to_thread(pattern.wait_for, "the proxy at")
    assert "there is no such session" in error["message"]
    await asyncio.to_thread(pattern.wait_for, "drained")
    assert await asyncio.to_thread(pattern.wait) == 1


async def test_when_the_proxy_is_gone_for_good_it_drains_and_ends_with_status_0(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern()
    await (await proxy.stream()).start()
    await proxy.stop()
    event = await asyncio.to_thread(pattern.wait_for, "shutting down")
    assert f"the proxy at {proxy.address} is gone" in event["message"]
    await asyncio.to_thread(pattern.wait_for, "drained")
    assert await asyncio.to_thread(pattern.wait) == 0


async def test_a_proxy_that_was_never_there_is_an_error(
    socket_folder: Path, start_server: Start
) -> None:
    address = f"unix:{socket_folder}/nobody.sock"
    pattern = start_server("--proxy-address", address, "--proxy-token", TOKEN, free_ports=False)
    error = await asyncio.to_thread(pattern.wait_for, "no proxy answered")
    assert address in error["message"]
    assert await asyncio.to_thread(pattern.wait) == 1


async def test_the_end_of_its_descriptor_ends_it(proxy: FakeProxy, start_pattern: Start) -> None:
    reading, writing = os.pipe()
    try:
        pattern = start_pattern("--proxy-fd", str(reading), token=None, pass_fds=(reading,))
        os.write(writing, f"{TOKEN}\n".encode())
        stream = await proxy.stream()
        assert stream.shown == TOKEN
        await stream.start()
    finally:
        os.close(reading)
        os.close(writing)
    await asyncio.to_thread(pattern.wait_for, "the process of the proxy has ended")
    await asyncio.to_thread(pattern.wait_for, "drained")
    assert await asyncio.to_thread(pattern.wait) == 0


def test_a_descriptor_that_ends_before_the_token_ends_it(start_pattern: Start) -> None:
    reading, writing = os.pipe()
    os.close(writing)
    try:
        pattern = start_pattern("--proxy-fd", str(reading), token=None, pass_fds=(reading,))
    finally:
        os.close(reading)
    # Before there is anything to close in order.
    assert pattern.wait() == -signal.SIGTERM


@pytest.mark.parametrize("driver", ["mute", "importing"])
def test_the_end_of_its_descriptor_ends_one_that_hangs_before_it_has_an_event_loop(
    start_server: Start, importing: Path, driver: str
) -> None:
    """In the driver's constructor, or while its module is imported."""
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
    assert pattern.wait() == -signal.SIGTERM


@pytest.fixture
def importing(tmp_path: Path) -> Path:
    """Where a driver is installed whose module never ends. Elsewhere nobody could list drivers."""
    installed = tmp_path / "importing-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: importing\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[prism.drivers]\nimporting = importing:DRIVER\n")
    (tmp_path / "importing.py").write_text(_IMPORTING)
    return tmp_path


def test_a_descriptor_that_is_not_there_is_an_error(start_pattern: Start) -> None:
    pattern = start_pattern("--proxy-fd", "77", token=None)
    assert pattern.wait() != 0
    assert "proxy_fd is 77" in pattern.log
    assert "Traceback" not in pattern.log


async def test_it_does_not_outlive_a_launcher_that_was_killed(
    proxy: FakeProxy, socket_folder: Path
) -> None:
    launcher = subprocess.Popen(  # noqa: ASYNC220  (quick)
        (sys.executable, _FOLDER / "launcher.py", proxy.address, socket_folder / "data", TOKEN),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        await (await proxy.stream()).start()
    finally:
        launcher.kill()
    # Both print to the same pipe, which ends when none of them is left.
    printed, _ = await asyncio.to_thread(launcher.communicate, timeout=PATIENCE_S)
    assert b"the process of the proxy has ended" in printed
    assert b"drained" in printed


def test_a_hung_loop_does_not_outlive_it_either() -> None:
    reading, writing = os.pipe()
    with subprocess.Popen(
        (sys.executable, _FOLDER / "hung.py", str(reading)),
        stdout=subprocess.PIPE,
        pass_fds=(reading,),
    ) as process:
        os.close(reading)
        os.write(writing, b"token\n")
        assert process.stdout is not None
        assert process.stdout.readline() == b"stuck\n"
        os.close(writing)
        assert process.wait(PATIENCE_S) == 1
