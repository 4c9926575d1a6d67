"""The pattern's end of the control stream, against a proxy in this process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import code_pb2

from prism.adapters.control import ControlClient, registration
from prism.adapters.memstore import DRIVER, Memstore
from prism.domain.admission import Admission
from prism.domain.debug_events import DebugEventBuffer
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.values import DebugKind, DebugLevel
from prism.ports import BackendUnavailable, Health, InvalidArgument, Unauthenticated, Unsupported
from prism.v1 import lifecycle_pb2 as lpb
from tests.servers.fake_proxy import SESSION, TOKEN, FakeProxy


class Broken(Memstore):
    """Its health check is a defect, once."""

    started = 0

    async def start(self) -> None:
        self.started += 1
        raise RuntimeError("with the password")


class Pattern:
    """What a pattern has of the stream, without the rest of a server."""

    def __init__(self, address: str, driver: Memstore) -> None:
        admission = Admission(max_in_flight=10, max_per_connection=10)
        self.lifecycle = LifecycleMachine(driver, DRIVER.settings, admission)
        self.events = DebugEventBuffer()
        self.checked: list[Health] = []
        self.client = ControlClient(
            address,
            self.lifecycle,
            self.events,
            self.checked.append,
            gone_after=timedelta(milliseconds=300),
        )

    def run(self, token: str = TOKEN) -> Coroutine[Any, Any, str]:
        return self.client.run(registration(DRIVER, "unix:/data", ""), token)


Begin = Callable[..., tuple[Pattern, asyncio.Task[str]]]


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    with tempfile.TemporaryDirectory(prefix="prism-") as folder:
        socket = Path(folder) / "control.sock"
        async with FakeProxy(socket, interval=timedelta(milliseconds=50)) as proxy:
            yield proxy


@pytest.fixture
async def begin(proxy: FakeProxy) -> AsyncIterator[Begin]:
    """Have a pattern call the proxy."""
    begun: list[tuple[Pattern, asyncio.Task[str]]] = []

    def make(driver: Memstore | None = None, token: str = TOKEN) -> Any:
        pattern = Pattern(proxy.address, driver or Memstore())
        begun.append((pattern, asyncio.create_task(pattern.run(token))))
        return begun[-1]

    yield make
    for pattern, running in begun:
        running.cancel()
        await asyncio.wait((running,))
        await pattern.lifecycle.stop()


async def test_leaving_sends_the_answers_that_are_due(proxy: FakeProxy, begin: Begin) -> None:
    pattern, running = begin()
    stream = await proxy.stream()
    stream.send(1, stop=lpb.StopRequest())
    while await pattern.lifecycle.state() != "stopped":
        await asyncio.sleep(0)
    await pattern.client.leave()
    assert (await stream.result(1)).stop.state == lpb.LIFECYCLE_STATE_STOPPED
    assert "was left" in await running


async def test_leaving_sends_what_was_told(proxy: FakeProxy, begin: Begin) -> None:
    pattern, _ = begin()
    stream = await proxy.stream()
    await stream.until(lambda: stream.beats > 0)
    pattern.events.add(DebugLevel.INFO, DebugKind.LOG, "the last word")
    await pattern.client.leave()
    await stream.told_of(lambda event: event.message == "the last word")
    await stream.ended.wait()


async def test_leaving_without_a_stream_takes_no_time(proxy: FakeProxy) -> None:
    pattern = Pattern(proxy.address, Memstore())
    await pattern.client.leave()


async def test_a_defect_is_answered_without_its_text(proxy: FakeProxy, begin: Begin) -> None:
    begin(Broken())
    stream = await proxy.stream()
    await stream.command(1, initialize=lpb.InitializeRequest())
    failed = await stream.command(2, start=lpb.StartRequest())
    assert failed.error.code == code_pb2.INTERNAL
    assert "password" not in str(failed)


async def test_a_command_that_failed_is_not_tried_again_when_it_is_repeated(
    proxy: FakeProxy, begin: Begin
) -> None:
    driver = Broken()
    begin(driver)
    stream = await proxy.stream()
    await stream.command(1, initialize=lpb.InitializeRequest())
    await stream.command(2, start=lpb.StartRequest())
    assert (await stream.command(2, start=lpb.StartRequest())).error.code == code_pb2.INTERNAL
    assert driver.started == 1


async def test_each_health_check_is_witnessed(proxy: FakeProxy, begin: Begin) -> None:
    pattern, _ = begin()
    stream = await proxy.stream()
    await stream.start()
    await stream.command(3, health_check=lpb.HealthCheckRequest())
    assert [health.details["keys"] for health in pattern.checked] == ["0"]


async def test_a_command_without_a_known_kind_is_unimplemented(
    proxy: FakeProxy, begin: Begin
) -> None:
    begin()
    stream = await proxy.stream()
    assert (await stream.command(1)).error.code == code_pb2.UNIMPLEMENTED


async def test_a_stream_that_breaks_is_opened_again_with_the_session(
    proxy: FakeProxy, begin: Begin
) -> None:
    begin()
    assert (await proxy.stream()).shown == TOKEN
    for _ in range(3):
        await proxy.stop()
        await proxy.start()
        assert (await proxy.stream()).shown == SESSION


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.UNIMPLEMENTED, Unsupported),
    ],
)
async def test_a_refusal_is_final(
    proxy: FakeProxy, code: grpc.StatusCode, error: type[Exception]
) -> None:
    proxy.refusal = (code, "go away")
    with pytest.raises(error, match=r"refuses this pattern.*go away"):
        await Pattern(proxy.address, Memstore()).run()


async def test_a_refusal_that_may_pass_is_not_final(proxy: FakeProxy, begin: Begin) -> None:
    proxy.refusal = (grpc.StatusCode.UNAVAILABLE, "in a moment")
    begin()
    await asyncio.sleep(0)
    proxy.refusal = None
    await proxy.stream()


async def test_a_proxy_that_stays_away_is_gone(proxy: FakeProxy, begin: Begin) -> None:
    _, running = begin()
    await proxy.stream()
    await proxy.stop()
    assert await running == f"the proxy at {proxy.address} is gone: out of reach for 0.3 s"


async def test_a_proxy_that_was_never_there_is_an_error() -> None:
    with pytest.raises(BackendUnavailable, match="no proxy answered at unix:/nowhere/x"):
        await Pattern("unix:/nowhere/x", Memstore()).run()


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="neither host:port nor unix:PATH"):
        ControlClient("nowhere", None, DebugEventBuffer(), print)  # type: ignore[arg-type]
