"""Waits end at their limit, late by little, and other cancellations stay what they are."""

from __future__ import annotations

import asyncio

import pytest

from prism.adapters.grpc.transports.timeouts import CoarseTimeouts


async def test_wait_beyond_its_limit_raises() -> None:
    timeouts = CoarseTimeouts()
    with pytest.raises(TimeoutError), timeouts.limit(0.05):
        await asyncio.sleep(10)
    assert len(timeouts) == 0
    task = asyncio.current_task()
    assert task is not None
    assert not task.cancelling()
    await asyncio.sleep(0)


async def test_wait_within_its_limit_goes_on() -> None:
    timeouts = CoarseTimeouts()
    with timeouts.limit(60):
        await asyncio.sleep(0.01)
        assert len(timeouts) == 1
    with timeouts.limit(0.3):
        pass
    with timeouts.limit(None):
        await asyncio.sleep(0.15)
    # A limit that is over is not enforced any more.
    await asyncio.sleep(0.4)


async def test_cancelling_is_not_a_timeout() -> None:
    timeouts = CoarseTimeouts()

    async def wait() -> None:
        with timeouts.limit(60):
            await asyncio.sleep(60)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(timeouts) == 0


async def test_many_waits_have_limits_of_their_own() -> None:
    timeouts = CoarseTimeouts()

    async def wait(limit_s: float, wait_s: float) -> bool:
        try:
            with timeouts.limit(limit_s):
                await asyncio.sleep(wait_s)
        except TimeoutError:
            return False
        return True

    waits = [wait(0.05, 60) if index % 2 else wait(60, 0.05) for index in range(100)]
    async with asyncio.timeout(30):
        assert await asyncio.gather(*waits) == [index % 2 == 0 for index in range(100)]
