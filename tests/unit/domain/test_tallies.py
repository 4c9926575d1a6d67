from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prism.domain.tallies import Durations, OperationTally
from prism.ports import Exhausted, InvalidArgument, NotServing, Put, VersionConflict


def test_a_duration_is_in_the_bucket_whose_bound_it_does_not_exceed() -> None:
    durations = Durations((0.001, 0.01))
    for elapsed_ns in (1, 1_000_000, 1_000_001, 10_000_000, 10_000_001):
        durations.add(elapsed_ns)
    assert durations.counts == [2, 2, 1]
    assert durations.total_ns == 22_000_003


async def test_an_operation_is_counted_once_however_it_ends(build: Any) -> None:
    house = build()
    await house.run()
    tallies = house.gateway.tallies
    await house.gateway.get("absent")
    await house.gateway.compare_and_set("k", b"", expected=None)
    with pytest.raises(VersionConflict):
        await house.gateway.compare_and_set("k", b"", expected=None)
    assert sum(tallies["get"].counts) == 1
    assert sum(tallies["compare_and_set"].counts) == 2
    assert tallies["compare_and_set"].failed == {VersionConflict: 1}
    assert not tallies["get"].failed


async def test_a_batch_is_one_operation_and_its_items_are_counted_apart(build: Any) -> None:
    house = build()
    await house.run()
    await house.gateway.set_many([Put("a", b""), Put("b", b"")])
    await house.gateway.get_many(["a", "b", "c"])
    tallies = house.gateway.tallies
    assert (sum(tallies["set_many"].counts), tallies["set_many"].items) == (1, 2)
    assert (sum(tallies["get_many"].counts), tallies["get_many"].items) == (1, 3)


async def test_what_is_not_let_in_is_no_operation(build: Any) -> None:
    house = build()
    with pytest.raises(NotServing):
        await house.gateway.get("k")
    await house.run()
    with pytest.raises(InvalidArgument):
        await house.gateway.get("")
    slots = [house.admission.admit() for _ in range(10)]
    with pytest.raises(Exhausted):
        await house.gateway.get("k")
    for slot in slots:
        slot.__exit__(None, None, None)
    assert sum(house.gateway.tallies["get"].counts) == 0
    assert (house.admission.refused, house.admission.shed) == (1, 1)


async def test_an_operation_that_a_drain_aborts_failed_as_its_caller_is_told(build: Any) -> None:
    house = build()
    await house.run()
    tally = OperationTally()

    async def stuck() -> None:
        with house.admission.admit(tally):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(stuck())
    await asyncio.sleep(0)
    await house.lifecycle.drain(timedelta())
    with pytest.raises(NotServing):
        await waiting
    assert tally.failed == {NotServing: 1}
