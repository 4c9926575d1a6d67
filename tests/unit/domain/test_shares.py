"""A connection has only so much work in progress; the rest of it waits in order."""

from __future__ import annotations

import asyncio
import random

import pytest

from prism.domain.turns import Shares


async def _waiting(shares: Shares, count: int) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(shares.wait("one")) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_no_place_is_free_beyond_the_bound() -> None:
    shares = Shares(2)
    assert [shares.take("one") for _ in range(3)] == [True, True, False]
    assert shares.take("another")
    shares.release("one")
    assert shares.take("one")


async def test_places_go_to_those_who_have_waited_longest() -> None:
    shares = Shares(1)
    shares.take("one")
    first, second = await _waiting(shares, 2)
    shares.release("one")
    await first
    assert not second.done()
    shares.release("one")
    await second


@pytest.mark.parametrize("is_given", [False, True])
async def test_work_that_is_cancelled_while_it_waits_keeps_no_place(is_given: bool) -> None:
    shares = Shares(1)
    shares.take("one")
    cancelled, next_one = await _waiting(shares, 2)
    if is_given:
        shares.release("one")
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    if not is_given:
        shares.release("one")
    async with asyncio.timeout(30):
        await next_one
    shares.release("one")
    assert shares.take("one")


async def test_a_place_that_is_free_in_the_step_of_a_cancellation_goes_to_the_next() -> None:
    shares = Shares(1)
    shares.take("one")
    cancelled, next_one = await _waiting(shares, 2)
    cancelled.cancel()
    shares.release("one")
    async with asyncio.timeout(5):
        await next_one
    assert cancelled.cancelled()
    shares.release("one")
    assert shares.take("one")


async def test_cancelled_work_of_every_kind_keeps_no_place() -> None:
    shares = Shares(4)
    chance = random.Random(1)

    async def work() -> None:
        if not shares.take("one"):
            await shares.wait("one")
        try:
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        finally:
            shares.release("one")

    for _ in range(200):
        tasks = [asyncio.create_task(work()) for _ in range(12)]
        for _ in range(chance.randrange(8)):
            await asyncio.sleep(0)
        for task in chance.sample(tasks, 6):
            task.cancel()
        async with asyncio.timeout(5):
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} <= {type(None), asyncio.CancelledError}
    assert [shares.take("one") for _ in range(5)] == [True] * 4 + [False]
