"""Control stream of a pattern, against a fake proxy in this process."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from prism.adapters.control import ControlClient, registration_message
from prism.adapters.memstore import DRIVER, Memstore
from prism.domain.admission import Admission
from prism.domain.debug_events import DebugEventBuffer
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.values import DebugKind, DebugLevel
from prism.ports import BackendUnavailable, InvalidArgument, Unauthenticated, Unsupported
from tests.servers.fake_proxy import SESSION, TOKEN, FakeProxy


class Pattern:
    """Parts of a pattern that its control stream needs."""

    def __init__(
        self, address: str, *, gone_after: timedelta | None = timedelta(seconds=30)
    ) -> None:
        admission = Admission(max_in_flight=10, max_per_connection=10)
        self.lifecycle = LifecycleMachine(Memstore(), DRIVER.settings, admission)
        self.events = DebugEventBuffer()
        self.client = ControlClient(address, self.lifecycle, self.events, gone_after=gone_after)

    def run(self, token: str = TOKEN) -> Coroutine[Any, Any, str]:
        return self.client.run(registration_message(DRIVER, "unix:/data", ""), token)


Begin = Callable[..., tuple[Pattern, asyncio.Task[str]]]


@pytest.fixture
async def proxy() -> AsyncIterator[FakeProxy]:
    with tempfile.TemporaryDirectory(prefix="prism-") as folder:
        socket = Path(folder) / "control.sock"
        async with FakeProxy(socket) as proxy:
            yield proxy


@pytest.fixture
async def begin(proxy: FakeProxy) -> AsyncIterator[Begin]:
    """Connect a pattern to the proxy."""
    begun: list[tuple[Pattern, asyncio.Task[str]]] = []

    def connect(token: str = TOKEN, **how: Any) -> tuple[Pattern, asyncio.Task[str]]:
        pattern = Pattern(proxy.address, **how)
        begun.append((pattern, asyncio.create_task(pattern.run(token))))
        return begun[-1]

    yield connect
    for pattern, running in begun:
        running.cancel()
        await asyncio.wait((running,))
        await pattern.lifecycle.stop()


async def test_leaving_sends_the_waiting_debug_events(proxy: FakeProxy, begin: Begin) -> None:
    proxy.interval = timedelta(seconds=1)
    pattern, running = begin()
    stream = await proxy.stream()
    await stream.until(lambda: stream.heartbeats > 0)
    pattern.events.add(DebugLevel.INFO, DebugKind.LOG, "the last word")
    await pattern.client.leave()
    await stream.debug_event(lambda event: event.message == "the last word")
    await stream.ended.wait()
    assert "was left" in await running


async def test_leaving_without_a_stream_returns_at_once(proxy: FakeProxy) -> None:
    pattern = Pattern(proxy.address)
    await pattern.client.leave()


async def test_broken_stream_is_opened_again_with_the_session(
    proxy: FakeProxy, begin: Begin
) -> None:
    begin()
    assert (await proxy.stream()).credential == TOKEN
    for _ in range(3):
        await proxy.stop()
        await proxy.start()
        assert (await proxy.stream()).credential == SESSION


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.UNIMPLEMENTED, Unsupported),
    ],
)
async def test_permanent_refusal_is_raised(
    proxy: FakeProxy, code: grpc.StatusCode, error: type[Exception]
) -> None:
    proxy.refusal = (code, "go away")
    with pytest.raises(error, match=r"refuses this pattern.*go away"):
        await Pattern(proxy.address).run()


async def test_temporary_refusal_is_retried(proxy: FakeProxy, begin: Begin) -> None:
    proxy.refusal = (grpc.StatusCode.UNAVAILABLE, "in a moment")
    begin()
    await asyncio.sleep(0)
    proxy.refusal = None
    await proxy.stream()


async def test_unreachable_proxy_is_gone_after_its_time(proxy: FakeProxy, begin: Begin) -> None:
    _, running = begin(gone_after=timedelta(milliseconds=300))
    await proxy.stream()
    await proxy.stop()
    assert await running == f"the proxy at {proxy.address} is gone: out of reach for 0.3 s"


async def test_silence_of_the_proxy_breaks_a_stream(proxy: FakeProxy, begin: Begin) -> None:
    proxy.interval = timedelta(milliseconds=50)
    begin()
    stream = await proxy.stream()
    proxy.silent = True
    async with asyncio.timeout(30):
        await stream.ended.wait()
    assert (await proxy.stream()).credential == SESSION


async def test_silent_or_unreachable_proxy_is_not_gone_where_a_pipe_tells(
    proxy: FakeProxy, begin: Begin
) -> None:
    proxy.interval = timedelta(milliseconds=50)
    _, running = begin(gone_after=None)
    stream = await proxy.stream()
    proxy.silent = True
    await stream.until(lambda: stream.heartbeats > 10)
    assert not stream.ended.is_set()
    await proxy.stop()
    await asyncio.wait((running,), timeout=0.5)
    assert not running.done()
    await proxy.start()
    assert (await proxy.stream()).credential == SESSION


async def test_proxy_that_never_answers_is_an_error() -> None:
    with pytest.raises(BackendUnavailable, match="no proxy answered at unix:/nowhere/x"):
        await Pattern("unix:/nowhere/x", gone_after=timedelta(milliseconds=300)).run()


def test_invalid_address_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="neither host:port nor unix:PATH"):
        ControlClient("nowhere", None, DebugEventBuffer())  # type: ignore[arg-type]
