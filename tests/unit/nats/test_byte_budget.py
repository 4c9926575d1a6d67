"""The byte budget is never exceeded, and no request waits for it without end."""

from __future__ import annotations

import asyncio

import pytest

from prism.adapters.nats.byte_budget import ByteBudget, ValueSizeEstimate
from prism.ports import BackendTimeout, Outcome


class Load:
    """Requests that hold their bytes until `finish` is set; records the sizes that began."""

    def __init__(self, *, max_bytes: int = 10, timeout_s: float = 30) -> None:
        self._budget = ByteBudget(max_bytes, timeout_s, "server")
        self.begun: list[int] = []
        self.finish = asyncio.Event()

    async def request(self, size: int) -> int:
        async def answer() -> int:
            self.begun.append(size)
            await self.finish.wait()
            return size

        return await self._budget.run(size, answer)


async def let_begin(*calls: asyncio.Task[int]) -> None:
    for _ in calls:
        await asyncio.sleep(0)


async def test_requests_that_do_not_fit_wait_in_order() -> None:
    load = Load()
    calls = [asyncio.create_task(load.request(size)) for size in (6, 6, 3, 1)]
    await let_begin(*calls)
    assert load.begun == [6]
    load.finish.set()
    assert await asyncio.gather(*calls) == [6, 6, 3, 1]
    assert load.begun == [6, 6, 3, 1]


async def test_request_over_the_whole_budget_runs_alone() -> None:
    load = Load()
    calls = [asyncio.create_task(load.request(size)) for size in (1, 99)]
    await let_begin(*calls)
    assert load.begun == [1]
    load.finish.set()
    assert await asyncio.gather(*calls) == [1, 99]


async def test_cancelled_request_is_skipped() -> None:
    load = Load()
    calls = [asyncio.create_task(load.request(size)) for size in (9, 5, 5, 1)]
    await let_begin(*calls)
    for call in calls[1:3]:
        call.cancel()
    await asyncio.wait(calls[1:3])
    await let_begin(*calls)
    assert load.begun == [9, 1]
    load.finish.set()
    assert [await calls[0], await calls[3]] == [9, 1]
    assert await load.request(10) == 10


async def test_bytes_granted_during_a_cancellation_are_not_lost() -> None:
    load = Load()
    first, second = (asyncio.create_task(load.request(10)) for _ in range(2))
    await let_begin(first, second)
    load.finish.set()
    await first
    second.cancel()
    await asyncio.wait([second])
    assert await load.request(10) == 10


async def test_waiting_too_long_is_a_timeout_and_nothing_was_requested() -> None:
    load = Load(timeout_s=0.02)
    first = asyncio.create_task(load.request(10))
    await let_begin(first)
    with pytest.raises(BackendTimeout) as failure:
        await load.request(1)
    assert failure.value.outcome is Outcome.NOT_APPLIED
    assert load.begun == [10]
    load.finish.set()
    await first


def test_size_estimate_follows_recent_values() -> None:
    estimate = ValueSizeEstimate()
    estimate.raise_to(100)
    assert estimate.expected_bytes == 100
    for _ in range(30):
        estimate.observe(1 << 20)
    assert estimate.expected_bytes > 1 << 19
    for _ in range(300):
        estimate.observe(0)
    assert estimate.expected_bytes < 1
