"""A proxy that stands still, as when its machine is suspended, keeps its patterns."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import prism
from prism.domain.patterns.values import EventKind, PatternState
from prism.ports import PrismError
from tests.integration.supervision.conftest import Proxy

LOST_AFTER_S = (0.25, 1.0, 4.0)
"""Silence after which a pattern counts as lost; a busy machine may keep one silent for a moment."""


class QuickProxy(Proxy):
    """Proxy with short heartbeats."""

    program: tuple[str, ...] = (str(Path(__file__).parent / "quick_proxy.py"),)


@contextmanager
def quick_proxy(folder: Path, transport: str, lost_after_s: float) -> Iterator[QuickProxy]:
    args = ("--pattern", "cache=memstore", "--transport", transport)
    ports = ("--grpc-port", "0", "--metrics-port", "0")
    proxy = QuickProxy((*ports, *args), {"LOST_AFTER_S": str(lost_after_s)}, folder)
    try:
        proxy.serving()
        yield proxy
        proxy.stop()
    finally:
        proxy.close()


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_proxy_that_stood_still_keeps_its_patterns_and_their_data(
    transport: str, tmp_path: Path
) -> None:
    for lost_after_s in LOST_AFTER_S:
        with quick_proxy(tmp_path, transport, lost_after_s) as proxy:
            try:
                await _stand_still(proxy, 2 + 2 * lost_after_s)
            except (AssertionError, PrismError):
                # The machine may be too busy for this time; a wrong decision is made at each.
                if lost_after_s == LOST_AFTER_S[-1]:
                    raise
            else:
                return


async def _stand_still(proxy: QuickProxy, seconds: float) -> None:
    """Stop the proxy for longer than all times after which a pattern or its stream is lost."""
    async with prism.connect(proxy.address) as client:
        await client.set("key", b"value")
    process_id = await proxy.process_id("cache")
    for _ in range(3):
        proxy.signal(signal.SIGSTOP)
        await asyncio.to_thread(os.waitid, os.P_PID, proxy.process.pid, os.WSTOPPED)
        await asyncio.sleep(seconds)
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


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_pattern_that_stands_still_is_replaced(transport: str, tmp_path: Path) -> None:
    with quick_proxy(tmp_path, transport, LOST_AFTER_S[0]) as proxy:
        process_id = await proxy.process_id("cache")
        os.kill(process_id, signal.SIGSTOP)
        await proxy.wait_status(
            "cache",
            lambda now: (
                now.state is PatternState.SERVING and now.process_id not in (None, process_id)
            ),
        )
