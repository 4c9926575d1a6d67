from __future__ import annotations

import asyncio
import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prism
from prism.adapters.client import connect_admin
from prism.ports import NotServing, State

Start = Callable[..., Any]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_drains_stops_and_exits_with_status_0(server: Any, number: signal.Signals) -> None:
    server.signal(number)
    assert server.wait() == 0
    messages = [json.loads(line)["message"] for line in server.lines]
    order = [f"shutting down: {number.name}", "drained", "ended"]
    assert [m for m in messages if m in order] == order


async def _until_refused(kv: prism.Client) -> None:
    """Wait for the drain, which begins right after its log line."""
    async with asyncio.timeout(30):
        while True:
            await kv.set("other", b"")


async def test_call_in_flight_is_finished_and_new_calls_are_refused(
    start_server: Start, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    server = start_server("--driver", "slow", "--slow-released-by", str(release)).serving()
    async with prism.connect(server.address, retry=False) as kv:
        await kv.set("slow", b"answer")
        in_flight = asyncio.create_task(kv.get("slow"))
        await asyncio.to_thread(server.wait_for, "in flight")
        server.signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait_for, "shutting down: SIGTERM")
        with pytest.raises(NotServing, match="draining"):
            await _until_refused(kv)
        release.touch()
        entry = await in_flight
        assert entry is not None
        assert entry.value == b"answer"
    assert await asyncio.to_thread(server.wait) == 0
    drained = next(json.loads(line) for line in server.lines if '"drained"' in line)
    assert (drained["completed"], drained["aborted"]) == (1, 0)


async def test_call_longer_than_the_drain_timeout_is_aborted(
    start_server: Start, tmp_path: Path
) -> None:
    server = start_server(
        *("--driver", "slow", "--slow-released-by", str(tmp_path / "never")),
        *("--drain-timeout", "10ms"),
    ).serving()
    async with prism.connect(server.address, retry=False) as kv:
        in_flight = asyncio.create_task(kv.get("slow"))
        await asyncio.to_thread(server.wait_for, "in flight")
        server.signal(signal.SIGTERM)
        with pytest.raises(NotServing, match="aborted"):
            await in_flight
    assert await asyncio.to_thread(server.wait) == 0


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["int", "term"]
)
async def test_second_signal_exits_at_once(
    start_server: Start, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    server = start_server("--driver", "slow", "--slow-released-by", str(tmp_path / "never"))
    server.serving()
    async with prism.connect(server.address, retry=False) as kv:
        in_flight = asyncio.create_task(kv.get("slow"))
        await asyncio.to_thread(server.wait_for, "in flight")
        server.signal(signal.SIGTERM)
        await asyncio.to_thread(server.wait_for, "shutting down")
        server.signal(number)
        assert await asyncio.to_thread(server.wait) == status
        assert f"{number.name} again: exiting at once" in server.log
        in_flight.cancel()


def test_second_signal_during_the_drain_delay_exits_at_once(start_server: Start) -> None:
    server = start_server("--drain-delay", "1h").serving()
    server.signal(signal.SIGTERM)
    server.wait_for("shutting down")
    server.signal(signal.SIGINT)
    assert server.wait() == 130


async def test_calls_are_served_during_the_drain_delay_which_a_stop_shortens(
    start_server: Start,
) -> None:
    server = start_server("--drain-delay", "1h").serving()
    server.signal(signal.SIGTERM)
    await asyncio.to_thread(server.wait_for, "shutting down")
    async with prism.connect(server.address, retry=False) as kv:
        await kv.set("k", b"v")
    async with connect_admin(server.address) as admin:
        await admin.lifecycle.stop()
    assert await asyncio.to_thread(server.wait) == 0


def test_signal_while_the_backend_opens_exits_with_status_0(
    start_server: Start, tmp_path: Path
) -> None:
    opening = tmp_path / "open"
    server = start_server("--driver", "slow", "--slow-opened-by", str(opening))
    server.wait_for("initializing")
    server.signal(signal.SIGTERM)
    server.wait_for("shutting down")
    opening.touch()
    assert server.wait() == 0
    assert "serving" not in server.log


async def test_stop_by_rpc_is_answered_and_ends_the_process(server: Any) -> None:
    async with connect_admin(server.address) as admin:
        assert await admin.lifecycle.state() is State.RUNNING
        await admin.lifecycle.stop()
    assert await asyncio.to_thread(server.wait) == 0


async def test_drained_process_runs_until_it_is_stopped(server: Any) -> None:
    async with connect_admin(server.address) as admin:
        await admin.lifecycle.drain()
        assert await admin.lifecycle.state() is State.DRAINING
    server.signal(signal.SIGTERM)
    assert await asyncio.to_thread(server.wait) == 0


async def test_prism_lifecycle_stop_finishes_calls_in_flight(
    start_server: Start, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    server = start_server("--driver", "slow", "--slow-released-by", str(release)).serving()
    async with prism.connect(server.address, retry=False) as kv:
        await kv.set("slow", b"answer")
        in_flight = asyncio.create_task(kv.get("slow"))
        await asyncio.to_thread(server.wait_for, "in flight")
        stopping = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", "from prism.cli import main; main()"),
            *("lifecycle", "stop", "--address", server.address),
        )
        with pytest.raises(NotServing, match="draining"):
            await _until_refused(kv)
        release.touch()
        entry = await in_flight
        assert entry is not None
        assert await stopping.wait() == 0
    assert await asyncio.to_thread(server.wait) == 0
