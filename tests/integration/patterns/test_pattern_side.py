"""A process that a proxy commands."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from http.client import HTTPConnection
from importlib.metadata import version
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

import prism
from prism.adapters.client import connect_admin
from prism.ports import State
from prism.v1 import keyvalue_pb2 as kpb
from prism.v1 import lifecycle_pb2 as lpb
from tests.servers.fake_proxy import TOKEN, FakeProxy

Start = Callable[..., Any]


def answer(address: str, path: str) -> tuple[int, str]:
    """What HTTP answers."""
    connection = HTTPConnection(address, timeout=30)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


async def test_its_whole_life_is_commanded(proxy: FakeProxy, start_pattern: Start) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    initialized = await stream.command(1, initialize=lpb.InitializeRequest())
    assert initialized.initialize.state == lpb.LIFECYCLE_STATE_INITIALIZED
    started = await stream.command(2, start=lpb.StartRequest())
    assert started.start.state == lpb.LIFECYCLE_STATE_RUNNING
    async with prism.connect(stream.registration.data_address) as kv:
        await kv.set("k", b"v")
        health = await stream.command(3, health_check=lpb.HealthCheckRequest())
        assert health.health_check.status == lpb.HEALTH_STATUS_HEALTHY
        assert health.health_check.details["keys"] == "1"
        drained = await stream.command(4, drain=lpb.DrainRequest())
        assert drained.drain.state == lpb.LIFECYCLE_STATE_DRAINING
    stopped = await stream.command(5, stop=lpb.StopRequest())
    assert stopped.stop.state == lpb.LIFECYCLE_STATE_STOPPED
    assert await asyncio.to_thread(pattern.wait) == 0


async def test_it_says_who_it_is(proxy: FakeProxy, start_pattern: Start) -> None:
    pattern = start_pattern("--metrics-port", "0")
    stream = await proxy.stream()
    said = stream.registration
    assert stream.shown == TOKEN
    assert said.protocol_version == 1
    assert (said.driver, said.prism_version) == ("memstore", version("prism"))
    assert said.process_id == pattern.process.pid
    assert said.state == lpb.LIFECYCLE_STATE_CREATED
    assert kpb.CAPABILITY_NAME_WATCH in {capability.name for capability in said.capabilities}
    assert said.data_address.startswith("unix:/")
    assert (await asyncio.to_thread(answer, said.metrics_address, "/health"))[0] == 200


async def test_until_it_is_commanded_it_says_that_it_waits(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    address = stream.registration.metrics_address
    status, body = await asyncio.to_thread(answer, address, "/ready")
    assert status == 503
    assert f"waiting for the proxy at {proxy.address}" in body


async def test_the_proxys_settings_are_the_drivers(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start(max_keys="7")
    health = await stream.command(3, health_check=lpb.HealthCheckRequest())
    assert health.health_check.details["max_keys"] == "7"


async def test_what_cannot_be_done_is_answered_as_by_rpc(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    unknown = lpb.InitializeRequest(settings={"colour": "red"})
    refused = await stream.command(1, initialize=unknown)
    assert refused.error.code == code_pb2.INVALID_ARGUMENT
    assert "colour" in refused.error.message
    early = await stream.command(2, drain=lpb.DrainRequest())
    assert early.error.code == code_pb2.FAILED_PRECONDITION
    odd = await stream.command(3)
    assert odd.error.code == code_pb2.UNIMPLEMENTED


async def test_a_command_that_is_repeated_is_answered_and_not_run_again(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.start()
    # With another id, that would be refused: the settings are others.
    again = await stream.command(1, initialize=lpb.InitializeRequest(settings={"max_keys": "1"}))
    assert again.initialize.state == lpb.LIFECYCLE_STATE_INITIALIZED


async def test_any_lifecycle_client_reaches_it_as_well(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    await stream.start()
    async with connect_admin(stream.registration.data_address) as admin:
        assert await admin.lifecycle.state() is State.RUNNING
        await admin.lifecycle.stop()
    assert await asyncio.to_thread(pattern.wait) == 0


async def test_it_sends_heartbeats(proxy: FakeProxy, start_pattern: Start) -> None:
    start_pattern()
    stream = await proxy.stream()
    await stream.until(lambda: stream.beats >= 3)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_drains_and_stops_it_and_the_proxy_hears_of_it(
    proxy: FakeProxy, start_pattern: Start, number: signal.Signals
) -> None:
    pattern = start_pattern()
    stream = await proxy.stream()
    await stream.start()
    pattern.signal(number)
    assert await asyncio.to_thread(pattern.wait) == 0
    await stream.ended.wait()
    states = [event.details["state"] for event in stream.told if "state" in event.details]
    assert states == ["initialized", "running", "draining", "stopped"]


async def test_a_driver_that_hangs_while_it_is_opened_can_be_stopped(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern("--driver", "slow")
    stream = await proxy.stream()
    stream.send(1, initialize=lpb.InitializeRequest(settings={"opened_by": "/never/there"}))
    await asyncio.to_thread(pattern.wait_for, "initializing")
    await stream.command(2, stop=lpb.StopRequest())
    assert (await stream.result(1)).error.code == code_pb2.UNAVAILABLE
    assert await asyncio.to_thread(pattern.wait) == 0


async def test_a_wrong_token_ends_it_with_a_clear_message(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    pattern = start_pattern(token="another-one")
    error = await asyncio.to_thread(pattern.wait_for, "the proxy at")
    assert error["level"] == "error"
    assert "refuses this pattern" in error["message"]
    assert "the token is unknown" in error["message"]
    assert error["reason"] == "UNAUTHENTICATED"
    assert await asyncio.to_thread(pattern.wait) == 1


async def test_another_version_of_the_protocol_ends_it_with_a_clear_message(
    proxy: FakeProxy, start_pattern: Start
) -> None:
    proxy.refusal = (grpc.StatusCode.FAILED_PRECONDITION, "this proxy speaks version 2")
    pattern = start_pattern()
    error = await asyncio.to_thread(pattern.wait_for, "the proxy at")
    assert "this proxy speaks version 2" in error["message"]
    assert await asyncio.to_thread(pattern.wait) == 1
