"""Memory goes back to the system after a burst, without further work."""

from __future__ import annotations

import asyncio
import gc

import pytest

from prism.bootstrap import memory
from prism.bootstrap.memory import MemoryKeeper, resident_bytes


class _Cycle:
    """Garbage that only the collector finds."""

    def __init__(self) -> None:
        self.payload = bytes(8 << 20)
        self.cycle = self


async def test_cycles_with_large_payloads_are_collected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PERIOD_S", 0.01)
    before, threshold = resident_bytes(), gc.get_threshold()
    gc.set_threshold(50_000)
    keeper = asyncio.create_task(MemoryKeeper().run())
    try:
        for _ in range(32):
            _Cycle()
        async with asyncio.timeout(30):
            while resident_bytes() > before + (64 << 20):
                await asyncio.sleep(0.01)
    finally:
        keeper.cancel()
        gc.set_threshold(*threshold)


async def test_freed_memory_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PERIOD_S", 0.01)
    keeper = asyncio.create_task(MemoryKeeper().run())
    # Small enough for the allocator's heap, and what stays keeps the heap from shrinking.
    pieces = [bytes(100_000) for _ in range(1000)]
    full = resident_bytes()
    kept = pieces[::50]
    del pieces
    try:
        async with asyncio.timeout(30):
            while resident_bytes() > full - (64 << 20):
                await asyncio.sleep(0.01)
    finally:
        keeper.cancel()
    assert len(kept) == 20


async def test_freed_memory_of_threads_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_PERIOD_S", 0.05)
    keeper = asyncio.create_task(MemoryKeeper().run())
    before = resident_bytes()

    def use_much() -> list[bytes]:
        pieces = [b"x" * 100_000 for _ in range(600)]
        assert resident_bytes() > before + (40 << 20)
        return pieces[::50]

    try:
        # The heap of another thread, which the allocator does not count.
        kept = await asyncio.to_thread(use_much)
        async with asyncio.timeout(30):
            while resident_bytes() > before + (24 << 20):
                await asyncio.sleep(0.01)
    finally:
        keeper.cancel()
    assert len(kept) == 12
