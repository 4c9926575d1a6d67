"""Misbehaving patterns: each ends in a clear state with a clear message."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from time import monotonic
from urllib.request import urlopen

import pytest

import prism
from prism.adapters.client import connect_admin
from prism.adapters.client.patterns import PatternsClient
from prism.domain.patterns.values import EventKind, PatternEvent, PatternState, PatternStatus
from prism.ports import BackendUnavailable, HealthStatus, NotServing
from tests.integration.conftest import TIMEOUT_S
from tests.integration.supervision.conftest import Proxy, is_gone

Start = Callable[..., Proxy]

_LONG = timedelta(seconds=TIMEOUT_S)


async def test_pattern_killed_under_load_returns_and_others_are_not_affected(
    start_proxy: Start,
) -> None:
    proxy = start_proxy("--pattern", "a=memstore", "--pattern", "b=memstore")
    failures: dict[str, set[type[Exception]]] = {"a": set(), "b": set()}
    written = dict.fromkeys(failures, 0)
    done = asyncio.Event()

    async def write(pattern: str) -> None:
        async with prism.connect(proxy.address, pattern=pattern, retry=False) as kv:
            while not done.is_set():
                try:
                    await kv.set(f"key {written[pattern]}", b"")
                    written[pattern] += 1
                except Exception as error:
                    failures[pattern].add(type(error))
                    # Refusals come at once, and a loop without a pause would block the others.
                    await asyncio.sleep(0.001)

    async with asyncio.TaskGroup() as writers:
        for pattern in failures:
            writers.create_task(write(pattern))
        while min(written.values()) < 100:
            await asyncio.sleep(0.001)
        process_id = await proxy.process_id("a")
        os.kill(process_id, signal.SIGKILL)
        serving = await proxy.wait_event("a", EventKind.SERVING, 2)
        before = dict(written)
        while any(written[pattern] <= before[pattern] for pattern in written):
            await asyncio.sleep(0.001)
        done.set()

    assert failures["b"] == set()
    assert failures["a"] <= {BackendUnavailable, NotServing}
    assert failures["a"]
    assert "is empty: it keeps its data in its own process" in serving.message
    events = await proxy.events("a")
    (failed,) = (event for event in events if event.kind is EventKind.FAILED)
    assert "was killed by SIGKILL" in failed.message
    status = await proxy.status("a")
    assert (status.state, status.restarts) == (PatternState.SERVING, 1)
    async with prism.connect(proxy.address, pattern="a") as kv:
        assert await kv.get("key 0") is None


async def test_pattern_drained_by_another_command_is_unhealthy(start_proxy: Start) -> None:
    proxy = start_proxy("--pattern", "a=memstore", "--health-interval", "50ms")
    async with proxy.admin() as admin:
        registration = (await admin.get("a")).pattern.status.registration
        assert registration is not None
        async with connect_admin(registration.data_address) as beside:
            await beside.lifecycle.drain()
        event = await proxy.wait_event("a", EventKind.HEALTH)
        assert event.message.startswith("unhealthy: its driver is draining, by a command")
        health = (await admin.get("a")).pattern.status.health
        assert health is not None
        assert health.status is HealthStatus.UNHEALTHY
        await admin.restart("a")
    async with prism.connect(proxy.address) as kv:
        await kv.set("key", b"")


async def test_calls_to_a_killed_pattern_wait_with_pattern_wait(
    start_proxy: Start,
) -> None:
    proxy = start_proxy("--pattern", "a=memstore", "--pattern-wait")
    async with prism.connect(proxy.address, timeout=_LONG) as kv:
        await kv.set("key", b"")
        killed = await proxy.process_id("a")
        os.kill(killed, signal.SIGKILL)
        await proxy.wait_event("a", EventKind.FAILED)
        assert await kv.get("key") is None
        assert await proxy.process_id("a") != killed


async def test_pattern_that_never_registers_times_out(start_proxy: Start) -> None:
    proxy = start_proxy("--pattern", "a=mute", "--pattern", "b=memstore", "--start-timeout", "5s")
    failed = await proxy.wait_event("a", EventKind.FAILED)
    assert failed.message == "the pattern 'a' did not register within 5 s"
    status = await proxy.wait_status("a", lambda now: now.state is PatternState.BACKING_OFF)
    assert status.reason == failed.message
    assert (status.registration, status.serving_since) == (None, None)
    with pytest.raises(NotServing, match=r"'a' is (backing off|launching|crash loop)"):
        async with prism.connect(proxy.address, pattern="a"):
            pass
    await proxy.wait_event("b", EventKind.SERVING)
    async with prism.connect(proxy.address, pattern="b") as kv:
        await kv.set("key", b"")


async def test_pattern_with_a_wrong_token_exits_with_a_clear_message(start_proxy: Start) -> None:
    proxy = start_proxy("--pattern", "a=impostor")
    failed = await proxy.wait_event("a", EventKind.FAILED)
    assert failed.message.startswith("the pattern 'a' exited with status 1: ")
    assert "token" in failed.message
    status = await proxy.wait_status("a", _has_failed)
    assert "token" in status.reason
    assert status.registration is None


async def test_pattern_with_another_protocol_version_is_refused(
    start_proxy: Start,
) -> None:
    proxy = start_proxy("--pattern", "a=outdated")
    refused = await proxy.wait_event("a", EventKind.REFUSED)
    assert "version 9" in refused.message
    failed = await proxy.wait_event("a", EventKind.FAILED)
    assert "version 9" in failed.message
    status = await proxy.wait_status("a", _has_failed)
    assert "version 9" in status.reason
    assert status.registration is None


async def test_pattern_that_crashes_repeatedly_is_in_a_crash_loop(start_proxy: Start) -> None:
    proxy = start_proxy("--pattern", "a=crashing", "--pattern", "b=memstore")
    event = await proxy.wait_event("a", EventKind.CRASH_LOOP)
    assert event.message.startswith("failed 5 times in a row; the next attempt is in ")
    async with proxy.admin() as admin:
        status = (await admin.get("a")).pattern.status
    assert status.state in (PatternState.CRASH_LOOP, PatternState.LAUNCHING)
    failed = [each for each in await proxy.events("a") if each.kind is EventKind.FAILED]
    assert failed[0].message == "the pattern 'a' exited with status 3: crashed by the test"
    # Degraded is ready: the other pattern serves.
    assert await asyncio.to_thread(_ready, proxy) == {"status": "ready"}


async def test_flood_of_output_is_limited_and_slows_no_caller(
    start_proxy: Start,
) -> None:
    proxy = start_proxy("--pattern", "a=flooding")
    async with prism.connect(proxy.address) as kv:
        for number in range(200):
            await kv.set(f"key {number}", b"")
    async with asyncio.timeout(TIMEOUT_S):
        while "dropped" not in proxy.log:
            await asyncio.sleep(0.01)
    assert len(proxy.lines) < 5000
    status = await proxy.status("a")
    assert (status.state, status.restarts) == (PatternState.SERVING, 0)


async def test_pattern_that_ignores_stop_is_killed_in_time(
    start_proxy: Start,
) -> None:
    proxy = start_proxy(
        *("--pattern", "a=stubborn", "--stop-timeout", "300ms", "--terminate-after", "300ms")
    )
    process_id = await proxy.process_id("a")
    async with proxy.admin() as admin:
        following, seen = await _follow(admin)
        proxy.signal(signal.SIGTERM)
        await asyncio.to_thread(proxy.wait)
        await following
    await is_gone(process_id)
    (failed,) = (event for event in seen if event.kind is EventKind.FAILED)
    assert failed.message.startswith("it did not stop within")
    assert seen[-1].kind is EventKind.EXITED
    assert seen[-1].message == f"process {process_id} was killed by SIGKILL"


async def test_shutdown_cancels_a_replacement_that_never_registers(start_proxy: Start) -> None:
    """The serving process is drained and stopped in order."""
    proxy = start_proxy("--pattern", "a=memstore", "--start-timeout", "25s")
    old = await proxy.process_id("a")
    async with proxy.admin() as admin:
        replacing = asyncio.create_task(admin.replace("a", "mute", {}, discard_data=True))
        launched = await proxy.wait_event("a", EventKind.LAUNCHED, 2)
        following, seen = await _follow(admin)
        signalled_at = monotonic()
        proxy.signal(signal.SIGTERM)
        assert await asyncio.to_thread(proxy.wait) == 0
        # The new process would be awaited for 25 s.
        assert monotonic() - signalled_at < 15
        await following
        with pytest.raises(NotServing, match="the replacement of the pattern 'a' was cancelled"):
            await replacing
    await is_gone(int(launched.message.removeprefix("process ")))
    messages = [event.message for event in seen]
    assert f"process {old} exited with status 0" in messages
    kinds = [event.kind for event in seen if event.message.startswith(("0 op", "its driver is s"))]
    assert kinds[-2:] == [EventKind.DRAINED, EventKind.STOPPED]


async def test_drained_and_killed_pattern_is_stopped_and_can_be_restarted(
    start_proxy: Start,
) -> None:
    proxy = start_proxy("--pattern", "a=memstore")
    async with proxy.admin() as admin:
        await admin.drain("a")
        os.kill(await proxy.process_id("a"), signal.SIGKILL)
        status = await proxy.wait_status("a", lambda now: now.state is PatternState.STOPPED)
        assert "was killed by SIGKILL" in status.reason
        await proxy.wait_event("a", EventKind.EXITED)
        await admin.restart("a")
    assert (await proxy.status("a")).state is PatternState.SERVING


async def test_pattern_in_a_crash_loop_can_be_replaced(
    start_proxy: Start,
) -> None:
    proxy = start_proxy("--pattern", "a=crashing")
    await proxy.wait_status("a", lambda now: now.state is PatternState.CRASH_LOOP)
    async with proxy.admin() as admin:
        await admin.replace("a", "memstore", {}, discard_data=False)
    status = await proxy.status("a")
    assert (status.state, status.driver) == (PatternState.SERVING, "memstore")
    async with prism.connect(proxy.address) as kv:
        await kv.set("key", b"")


def _has_failed(status: PatternStatus) -> bool:
    return status.state in (PatternState.BACKING_OFF, PatternState.CRASH_LOOP)


async def _follow(admin: PatternsClient) -> tuple[asyncio.Task[None], list[PatternEvent]]:
    """Collect all events until the proxy ends; return once there is one."""
    seen: list[PatternEvent] = []
    first = asyncio.Event()

    async def collect() -> None:
        with suppress(BackendUnavailable, NotServing):
            async for event in admin.follow():
                seen.append(event)
                first.set()

    following = asyncio.create_task(collect())
    async with asyncio.timeout(TIMEOUT_S):
        await first.wait()
    return following, seen


def _ready(proxy: Proxy) -> object:
    with urlopen(f"http://{proxy.metrics_address}/ready") as answer:
        return json.load(answer)
