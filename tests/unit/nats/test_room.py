"""Room for what is on its way: never more than there is, and nobody waits for ever."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from prism.adapters.nats import NatsSettings
from prism.adapters.nats.link import Link
from prism.adapters.nats.room import Room, Sizes
from prism.ports import BackendTimeout, Outcome


class Work:
    """Counts the bytes that are on their way; each call ends when it is told to."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.now = 0
        self.begun: list[int] = []
        self.end = asyncio.Event()

    async def take(self, size: int) -> int:
        async def ask() -> int:
            self.now += size
            self.begun.append(size)
            await self.end.wait()
            self.now -= size
            return size

        return await self._room.within(size, ask)


def work(*, most: int = 10, timeout: timedelta = timedelta(seconds=30)) -> Work:
    return Work(Room(most, Link(NatsSettings(timeout=timeout))))


async def begin(*calls: asyncio.Task[int]) -> None:
    for _ in calls:
        await asyncio.sleep(0)


async def test_what_does_not_fit_waits_in_order() -> None:
    load = work()
    calls = [asyncio.create_task(load.take(size)) for size in (6, 6, 3, 1)]
    await begin(*calls)
    assert load.begun == [6]
    load.end.set()
    assert await asyncio.gather(*calls) == [6, 6, 3, 1]
    assert load.begun == [6, 6, 3, 1]


async def test_what_never_fits_goes_alone() -> None:
    load = work()
    calls = [asyncio.create_task(load.take(size)) for size in (1, 99)]
    await begin(*calls)
    assert load.begun == [1]
    load.end.set()
    assert await asyncio.gather(*calls) == [1, 99]


async def test_whoever_gives_up_waiting_is_passed_over() -> None:
    load = work()
    calls = [asyncio.create_task(load.take(size)) for size in (9, 5, 5, 1)]
    await begin(*calls)
    for call in calls[1:3]:
        call.cancel()
    await asyncio.wait(calls[1:3])
    await begin(*calls)
    assert load.begun == [9, 1]
    load.end.set()
    assert [await calls[0], await calls[3]] == [9, 1]
    assert await load.take(10) == 10


async def test_room_that_comes_with_a_cancellation_is_not_lost() -> None:
    load = work()
    first, second = (asyncio.create_task(load.take(10)) for _ in range(2))
    await begin(first, second)
    load.end.set()
    await first
    second.cancel()
    await asyncio.wait([second])
    assert await load.take(10) == 10


async def test_no_room_in_time_is_a_timeout_and_nothing_was_asked() -> None:
    load = work(timeout=timedelta(milliseconds=20))
    first = asyncio.create_task(load.take(10))
    await begin(first)
    with pytest.raises(BackendTimeout) as failure:
        await load.take(1)
    assert failure.value.outcome is Outcome.NOT_APPLIED
    assert load.begun == [10]
    load.end.set()
    await first


def test_a_bucket_is_expected_to_answer_as_it_did_of_late() -> None:
    sizes = Sizes()
    sizes.at_least(100)
    assert sizes.expected == 100
    for _ in range(30):
        sizes.note(1 << 20)
    assert sizes.expected > 1 << 19
    for _ in range(300):
        sizes.note(0)
    assert sizes.expected < 1
