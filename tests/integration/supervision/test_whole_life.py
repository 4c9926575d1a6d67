"""The complete life of a pattern, as its proxy saw it."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import prism
from prism.adapters.client import connect_admin
from prism.domain.patterns.values import DebugKind, EventKind, PatternEvent, PatternStatus
from prism.ports import DrainReport, HealthStatus, State
from tests.integration.conftest import TIMEOUT_S
from tests.integration.supervision.conftest import Proxy, children_of, is_alive, is_gone

Start = Callable[..., Proxy]

LAUNCH = [
    EventKind.LAUNCHED,
    EventKind.REGISTERED,
    EventKind.INITIALIZED,
    EventKind.STARTED,
    EventKind.SERVING,
]


async def test_events_of_a_complete_life(start_proxy: Start) -> None:
    proxy = start_proxy("--pattern", "cache=memstore", "--health-interval", "100ms")
    seen: list[PatternEvent] = []

    async def follow() -> None:
        async with proxy.admin() as admin:
            async for event in admin.follow():
                seen.append(event)  # noqa: PERF401  (the list is looked at meanwhile)

    following = asyncio.create_task(follow())
    async with prism.connect(proxy.address) as kv:
        await kv.set("key", b"value")
        entry = await kv.get("key")
        assert entry is not None
        assert entry.value == b"value"
    status = await proxy.wait_status("cache", _is_healthy_with_a_key)
    process_id = status.process_id
    assert process_id is not None
    assert children_of(proxy.process.pid) == {process_id}
    proxy.signal(signal.SIGTERM)
    assert await asyncio.to_thread(proxy.wait) == 0
    await asyncio.wait((following,), timeout=TIMEOUT_S)

    assert [event.kind for event in seen] == [
        *LAUNCH,
        EventKind.DRAINED,
        EventKind.STOPPED,
        EventKind.EXITED,
    ]
    assert [event.sequence for event in seen] == list(range(1, 9))
    assert seen[-1].message == f"process {process_id} exited with status 0"
    assert not is_alive(process_id)


async def test_debug_events_report_the_number_of_keys(
    start_proxy: Start,
) -> None:
    proxy = start_proxy("--pattern", "cache=memstore", "--health-interval", "100ms")
    async with prism.connect(proxy.address) as kv:
        for number in range(17):
            await kv.set(f"key {number}", b"")
    async with asyncio.timeout(TIMEOUT_S), proxy.admin() as admin:
        while True:
            told = (await admin.get("cache")).debug_events
            backend = [event for event in told if event.kind is DebugKind.BACKEND]
            if backend and backend[-1].details["keys"] == "17":
                break
    assert [event.sequence for event in told] == list(range(1, len(told) + 1))
    states = [event.details.get("state") for event in told if event.kind is DebugKind.STATE]
    assert [state for state in states if state] == ["initialized", "running"]


async def test_five_lifecycle_clients_command_one_pattern_at_once(start_proxy: Start) -> None:
    """They call the pattern itself, beside its proxy."""
    proxy = start_proxy("--pattern", "cache=memstore")
    async with proxy.admin() as admin:
        registration = (await admin.get("cache")).pattern.status.registration
    assert registration is not None

    async def command() -> tuple[State, HealthStatus, DrainReport, State]:
        async with connect_admin(registration.data_address) as admin:
            before, health = await admin.lifecycle.state(), await admin.lifecycle.health()
            await arrived.wait()
            report = await admin.lifecycle.drain(timedelta(seconds=5))
            return before, health.status, report, await admin.lifecycle.state()

    arrived = asyncio.Barrier(5)
    answers = await asyncio.gather(*(command() for _ in range(5)))
    assert set(answers) == {(State.RUNNING, HealthStatus.HEALTHY, DrainReport(), State.DRAINING)}


async def test_processes_end_when_the_proxy_is_killed(start_proxy: Start) -> None:
    proxy = start_proxy("--pattern", "a=memstore", "--pattern", "b=memstore")
    patterns = children_of(proxy.process.pid)
    assert len(patterns) == 2
    os.kill(proxy.process.pid, signal.SIGKILL)
    await asyncio.to_thread(proxy.process.wait)
    for process_id in patterns:
        await is_gone(process_id)


async def test_process_that_hangs_before_its_registration_ends_with_the_proxy(
    start_proxy: Start,
) -> None:
    proxy = start_proxy("--pattern", "a=memstore", "--pattern", "b=mute", "--start-timeout", "5s")
    # The proxy serves once the first process has timed out; then there is another.
    await asyncio.to_thread(proxy.wait_for, "hanging")
    async with asyncio.timeout(TIMEOUT_S):
        while len(patterns := children_of(proxy.process.pid)) < 2:
            await asyncio.sleep(0.01)
    os.kill(proxy.process.pid, signal.SIGKILL)
    await asyncio.to_thread(proxy.process.wait)
    for process_id in patterns:
        await is_gone(process_id)


async def test_stopped_proxy_leaves_no_process_and_no_directory(start_proxy: Start) -> None:
    proxy = start_proxy("--pattern", "a=memstore", "--pattern", "b=memstore")
    async with proxy.admin() as admin:
        addresses = [
            shown.status.registration.data_address
            for shown in await admin.all()
            if shown.status.registration is not None
        ]
    (folder,) = {Path(address.removeprefix("unix:")).parent for address in addresses}
    assert _mode(folder) == 0o700
    assert {_mode(each) for each in _in(folder)} == {0o600}
    patterns = children_of(proxy.process.pid)
    proxy.signal(signal.SIGINT)
    assert await asyncio.to_thread(proxy.wait) == 0
    assert not any(map(is_alive, patterns))
    assert not _exists(folder)


def _is_healthy_with_a_key(status: PatternStatus) -> bool:
    health = status.health
    return (
        health is not None
        and health.status is HealthStatus.HEALTHY
        and health.details["keys"] == "1"
    )


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def _in(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _exists(path: Path) -> bool:
    return path.exists()
