"""A pattern's process, commanded by a fake proxy."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from datetime import timedelta
from http.client import HTTPConnection

import grpc
import pytest

import prism
from prism.ports import HealthStatus, IllegalTransition, InvalidArgument, NotServing, State
from prism.v1 import keyvalue_pb2 as kpb
from prism.v1 import lifecycle_pb2 as lpb
from prism.version import VERSION
from tests.integration.conftest import Server
from tests.servers.fake_proxy import TOKEN, FakeProxy

Start = Callable[..., Server]


def http_get(address: str, path: str) -> tuple[int, str]:
    """Return status and body of an HTTP request."""
    connection = HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def test_proxy_commands_the_whole_life_of_a_pattern(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    async with stream.commands() as lifecycle:
        await lifecycle.initialize({})
        assert await lifecycle.state() is State.INITIALIZED
        await lifecycle.start()
        assert await lifecycle.state() is State.RUNNING
        async with prism.connect(stream.registration.data_address, retry=False) as kv:
            await kv.set("k", b"v")
            health = await lifecycle.health()
            assert health.status is HealthStatus.HEALTHY
            assert health.details["keys"] == "1"
            await lifecycle.drain()
            assert await lifecycle.state() is State.DRAINING
        await lifecycle.stop()
    assert await asyncio.to_thread(pattern.wait) == 0


async def test_registration_describes_the_process(proxy: FakeProxy, start_pattern: Start) -> None:
    pattern = start_pattern("--metrics-port", "0")
    stream = await proxy.stream()
    registration = stream.registration
    assert stream.credential == TOKEN
    assert registration.protocol_version == 2
    assert (registration.driver, registration.prism_version) == ("memstore", VERSION)
    assert registration.process_id == pattern.process.pid
    assert registration.state == lpb.LIFECYCLE_STATE_CREATED
    capabilities = {capability.name for capability in registration.capabilities}
    assert kpb.CAPABILITY_NAME_WATCH in capabilities
    assert registration.data_address.startswith("unix:/")
    status, _ = await asyncio.to_thread(http_get, registration.metrics_address, "/health")
    assert status == 200


async def test_not_ready_until_the_proxy_commands_it(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    address = stream.registration.metrics_address
    status, body = await asyncio.to_thread(http_get, address, "/ready")
    assert status == 503
    assert f"waiting for the proxy at {proxy.address}" in body


async def test_driver_gets_the_settings_of_the_proxy(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver(max_keys="7")
    assert (await stream.check_health()).details["max_keys"] == "7"


async def test_impossible_commands_are_refused(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    async with stream.commands() as lifecycle:
        with pytest.raises(IllegalTransition):
            await lifecycle.drain()
        with pytest.raises(InvalidArgument, match="colour"):
            await lifecycle.initialize({"colour": "red"})


async def test_repeated_commands_succeed(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver(max_keys="7")
    async with stream.commands() as lifecycle:
        await lifecycle.start()
        first = await lifecycle.drain()
        assert await lifecycle.drain() == first


async def test_commands_are_answered_while_64_callers_keep_the_pattern_busy(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    done = asyncio.Event()
    async with (
        prism.connect(stream.registration.data_address, retry=False) as kv,
        stream.commands() as lifecycle,
    ):

        async def write(key: str) -> None:
            while not done.is_set():
                await kv.set(key, b"value")

        async with asyncio.TaskGroup() as writers:
            for number in range(64):
                writers.create_task(write(f"key {number}"))
            for _ in range(50):
                health = await lifecycle.health()
                assert health.status is HealthStatus.HEALTHY
            done.set()
        assert (await lifecycle.drain()).aborted == 0


async def test_pattern_sends_heartbeats(proxy: FakeProxy, start_pattern: Start) -> None:
    proxy.interval = timedelta(seconds=1)
    start_pattern()
    stream = await proxy.stream()
    await stream.until(lambda: stream.heartbeats >= 2)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_signal_drains_and_stops_a_pattern_and_the_proxy_gets_the_events(
    proxy: FakeProxy, start_pattern: Start, number: signal.Signals
) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    await stream.start_driver()
    pattern.signal(number)
    assert await asyncio.to_thread(pattern.wait) == 0
    await stream.ended.wait()
    states = [event.details["state"] for event in stream.debug_events if "state" in event.details]
    assert states == ["initialized", "running", "draining", "stopped"]


async def test_stop_cancels_an_initialize_that_hangs(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern("--driver", "slow")
    stream = await proxy.stream()
    async with stream.commands() as lifecycle:
        initializing = asyncio.create_task(lifecycle.initialize({"opened_by": "/never/there"}))
        await asyncio.to_thread(pattern.wait_for, "initializing")
        await lifecycle.stop()
        with pytest.raises(NotServing, match="by a stop"):
            await initializing
    assert await asyncio.to_thread(pattern.wait) == 0


async def test_wrong_token_ends_a_pattern_with_a_clear_message(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern(token="another-one")
    error = await asyncio.to_thread(pattern.wait_for, "the proxy at")
    assert error["level"] == "error"
    assert "refuses this pattern" in error["message"]
    assert "the token is unknown" in error["message"]
    assert error["reason"] == "UNAUTHENTICATED"
    assert await asyncio.to_thread(pattern.wait) == 1


async def test_other_protocol_version_ends_a_pattern_with_a_clear_message(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    proxy.refusal = (grpc.StatusCode.FAILED_PRECONDITION, "this proxy speaks version 9")
    pattern = start_pattern()
    error = await asyncio.to_thread(pattern.wait_for, "the proxy at")
    assert "this proxy speaks version 9" in error["message"]
    assert await asyncio.to_thread(pattern.wait) == 1
