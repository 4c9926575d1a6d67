"""Debug events that a pattern sends to its proxy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

import prism
from prism.adapters.client import connect_admin
from prism.ports import BackendUnavailable
from prism.v1 import pattern_pb2 as pb
from tests.integration.conftest import Server
from tests.servers.fake_proxy import FakeProxy

Start = Callable[..., Server]


def _with_keys(number: int) -> Callable[[pb.DebugEvent], bool]:
    return lambda event: event.details["keys"] == str(number)


async def test_each_state_is_an_event(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    event = await stream.debug_event(lambda event: event.details["state"] == "running")
    assert event.kind == pb.DEBUG_KIND_STATE
    assert event.level == pb.DEBUG_LEVEL_INFO
    ready = await stream.debug_event(lambda event: event.details["ready"] == "true")
    assert ready.kind == pb.DEBUG_KIND_STATE


async def test_failure_is_an_event_without_secrets(proxy: FakeProxy, start_pattern: Start) -> None:
    pattern = start_pattern("--driver", "slow")
    stream = await proxy.stream()
    settings = {"reachable": "false", "url": "slow://user:hunter2@nowhere"}
    async with stream.commands() as lifecycle:
        with pytest.raises(BackendUnavailable) as raised:
            await lifecycle.initialize(settings)
        health = await lifecycle.health()
    event = await stream.debug_event(lambda event: event.details["state"] == "failed")
    assert event.level == pb.DEBUG_LEVEL_ERROR
    for text in (event.message, raised.value.message, health.message):
        assert "cannot reach slow://user:***@nowhere" in text
    assert "hunter2" not in f"{raised.value} {health} {stream.debug_events} {pattern.log}"


async def test_each_commanded_health_check_with_a_new_result_is_an_event(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    async with prism.connect(stream.registration.data_address, retry=False) as kv:
        for number in range(1, 4):
            await kv.set(f"k{number}", b"v")
            await stream.check_health()
            event = await stream.debug_event(_with_keys(number))
            assert event.kind == pb.DEBUG_KIND_BACKEND


async def test_health_is_an_event_without_a_command(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    async with prism.connect(stream.registration.data_address, retry=False) as kv:
        await kv.set("k", b"v")
    await stream.debug_event(_with_keys(1))


async def test_same_health_is_one_event(proxy: FakeProxy, start_pattern: Start) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    async with stream.commands() as lifecycle:
        for _ in range(5):
            await lifecycle.health()
        await lifecycle.stop()
    await stream.ended.wait()
    assert await asyncio.to_thread(pattern.wait) == 0
    backend = [event for event in stream.debug_events if event.kind == pb.DEBUG_KIND_BACKEND]
    assert len(backend) == 1


async def test_log_lines_are_events_without_the_secrets_of_the_settings(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern("--driver", "slow")
    stream = await proxy.stream()
    settings = {"password": "swordfish", "says": "the word is swordfish"}
    await stream.start_driver(**settings)
    event = await stream.debug_event(lambda event: "the word is" in event.message)
    assert event.kind == pb.DEBUG_KIND_LOG
    assert event.details["logger"] == "slow_driver"
    assert event.message == "the word is ***"
    assert "swordfish" not in pattern.log


async def test_flood_of_log_lines_is_bounded_and_counted(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern("--driver", "slow")
    stream = await proxy.stream()
    await stream.start_driver(says="so much to say", times="5000")
    # Hides no change of state.
    await stream.debug_event(lambda event: event.details["state"] == "running")
    await stream.until(lambda: sum(event.dropped for event in stream.debug_events) > 4000)
    logged = [event for event in stream.debug_events if event.message == "so much to say"]
    # A few other log lines take part in the limit, and may be among the dropped.
    assert 90 <= len(logged) < 500
    dropped = sum(event.dropped for event in stream.debug_events)
    assert 5000 <= dropped + len(logged) <= 5010
    assert [event.sequence for event in stream.debug_events] == list(
        range(1, len(stream.debug_events) + 1)
    )


async def test_events_wait_while_the_proxy_is_away(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    await proxy.stop()
    async with connect_admin(stream.registration.data_address) as admin:
        await admin.lifecycle.drain()
    await proxy.start()
    again = await proxy.stream()
    await again.debug_event(lambda event: event.details["state"] == "draining")
