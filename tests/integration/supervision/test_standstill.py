"""A proxy that stands still, as when its machine is suspended, keeps its patterns."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import prism
from prism.domain.patterns.values import EventKind, PatternState
from tests.integration.supervision.conftest import Proxy

STANDSTILL_S = 2.0
"""Longer than all times after which a pattern or its stream counts as lost."""


class QuickProxy(Proxy):
    """Proxy with short heartbeats."""

    program: tuple[str, ...] = (str(Path(__file__).parent / "quick_proxy.py"),)


@pytest.fixture(params=["h2corn", "grpcio"])
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[QuickProxy]:
    args = ("--pattern", "cache=memstore", "--transport", request.param)
    proxy = QuickProxy(("--grpc-port", "0", "--metrics-port", "0", *args), {}, tmp_path)
    try:
        proxy.serving()
        yield proxy
        proxy.stop()
    finally:
        proxy.close()


async def test_proxy_that_stood_still_keeps_its_patterns_and_their_data(proxy: QuickProxy) -> None:
    async with prism.connect(proxy.address) as client:
        await client.set("key", b"value")
    process_id = await proxy.process_id("cache")
    for _ in range(3):
        proxy.signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, proxy.process.pid, os.WSTOPPED)
        await asyncio.sleep(STANDSTILL_S)
        proxy.signal(signal.SIGCONT)
        async with prism.connect(proxy.address) as client:
            entry = await client.get("key")
            assert entry is not None
            assert entry.value == b"value"
        # Time for a wrong decision to show.
        await asyncio.sleep(0.5)
    status = await proxy.status("cache")
    assert status.process_id == process_id
    assert status.state is PatternState.SERVING
    assert status.restarts == 0
    assert EventKind.FAILED not in {event.kind for event in await proxy.events("cache")}


async def test_pattern_that_stands_still_is_replaced(proxy: QuickProxy) -> None:
    process_id = await proxy.process_id("cache")
    os.kill(process_id, signal.SIGSTOP)
    await proxy.wait_event("cache", EventKind.SERVING, times=2)
    assert await proxy.process_id("cache") != process_id
