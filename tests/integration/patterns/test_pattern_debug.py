"""What a pattern tells its proxy, unasked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import prism
from prism.adapters.client import connect_admin
from prism.v1 import lifecycle_pb2 as lpb
from prism.v1 import pattern_pb2 as pb
from tests.servers.fake_proxy import FakeProxy

Start = Callable[..., Any]


def _with_keys(number: int) -> Callable[[pb.DebugEvent], bool]:
    return lambda event: event.details["keys"] == str(number)


async def test_each_state_is_told(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start()
    event = await stream.told_of(lambda event: event.details["state"] == "running")
    assert event.kind == pb.DEBUG_KIND_STATE
    assert event.level == pb.DEBUG_LEVEL_INFO
    ready = await stream.told_of(lambda event: event.details["ready"] == "true")
    assert ready.kind == pb.DEBUG_KIND_STATE


async def test_a_failed_start_is_told_as_an_error_without_its_secrets(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern("--driver", "slow")
    stream = await proxy.stream()
    settings = {"reachable": "false", "url": "slow://user:hunter2@nowhere"}
    initialized = await stream.command(1, initialize=lpb.InitializeRequest(settings=settings))
    checked = await stream.command(2, health_check=lpb.HealthCheckRequest())
    event = await stream.told_of(lambda event: event.details["state"] == "failed")
    assert event.level == pb.DEBUG_LEVEL_ERROR
    for said in (event.message, initialized.error.message, checked.health_check.message):
        assert "cannot reach slow://user:***@nowhere" in said
    assert "hunter2" not in f"{initialized} {checked} {stream.told}"


async def test_the_number_of_keys_is_told_with_every_health_check(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start()
    async with prism.connect(stream.registration.data_address) as kv:
        for number in range(1, 4):
            await kv.set(f"k{number}", b"v")
            await stream.command(10 + number, health_check=lpb.HealthCheckRequest())
            event = await stream.told_of(_with_keys(number))
            assert event.kind == pb.DEBUG_KIND_BACKEND


async def test_the_number_of_keys_is_told_without_being_asked(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start()
    async with prism.connect(stream.registration.data_address) as kv:
        await kv.set("k", b"v")
    await stream.told_of(_with_keys(1))


async def test_the_same_health_is_told_once(proxy: FakeProxy, start_pattern: Start) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    await stream.start()
    for number in range(10, 15):
        await stream.command(number, health_check=lpb.HealthCheckRequest())
    await stream.command(20, stop=lpb.StopRequest())
    await stream.ended.wait()
    assert await asyncio.to_thread(pattern.wait) == 0
    backend = [event for event in stream.told if event.kind == pb.DEBUG_KIND_BACKEND]
    assert len(backend) == 1


async def test_log_lines_are_told_without_the_secrets_that_the_proxy_sent(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern("--driver", "slow")
    stream = await proxy.stream()
    settings = {"password": "swordfish", "says": "the word is swordfish"}
    await stream.start(**settings)
    event = await stream.told_of(lambda event: "the word is" in event.message)
    assert event.kind == pb.DEBUG_KIND_LOG
    assert event.details["logger"] == "slow_driver"
    assert event.message == "the word is ***"
    assert "swordfish" not in pattern.log


async def test_a_flood_of_log_lines_is_bounded_and_counted(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern("--driver", "slow")
    stream = await proxy.stream()
    await stream.start(says="so much to say", times="5000")
    # Hides no change of state.
    await stream.told_of(lambda event: event.details["state"] == "running")
    await stream.until(lambda: sum(event.dropped for event in stream.told) > 4000)
    said = [event for event in stream.told if event.message == "so much to say"]
    assert 100 <= len(said) < 500
    dropped = sum(event.dropped for event in stream.told)
    assert dropped + len(said) == 5000
    assert [event.sequence for event in stream.told] == list(range(1, len(stream.told) + 1))


async def test_what_happens_while_the_proxy_is_away_is_told_later(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start()
    await proxy.stop()
    async with connect_admin(stream.registration.data_address) as admin:
        await admin.lifecycle.drain()
    await proxy.start()
    again = await proxy.stream()
    await again.told_of(lambda event: event.details["state"] == "draining")
