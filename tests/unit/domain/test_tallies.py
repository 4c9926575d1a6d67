from __future__ import annotations

import asyncio
from contextlib import ExitStack
from datetime import timedelta
from typing import Any

import pytest

from prism.domain.tallies import Durations, OperationTally
from prism.ports import Exhausted, InvalidArgument, NotServing, Put, VersionConflict


def test_the_bound_of_a_bucket_is_inclusive() -> None:
    durations = Durations((0.001, 0.01))
    for elapsed_ns in (1, 1_000_000, 1_000_001, 10_000_000, 10_000_001):
        durations.add(elapsed_ns)
    assert durations.counts == [2, 2, 1]
    assert durations.total_ns == 22_000_003


async def test_an_operation_is_counted_once_whether_it_succeeds_or_fails(build: Any) -> None:
    assembly = build()
    await assembly.run()
    tallies = assembly.gateway.tallies
    await assembly.gateway.get("absent")
    await assembly.gateway.compare_and_set("k", b"", expected=None)
    with pytest.raises(VersionConflict):
        await assembly.gateway.compare_and_set("k", b"", expected=None)
    assert sum(tallies["get"].durations.counts) == 1
    assert sum(tallies["compare_and_set"].durations.counts) == 2
    assert tallies["compare_and_set"].failed == {VersionConflict: 1}
    assert not tallies["get"].failed


async def test_a_batch_counts_as_one_operation_and_its_items_separately(build: Any) -> None:
    assembly = build()
    await assembly.run()
    await assembly.gateway.set_many([Put("a", b""), Put("b", b"")])
    await assembly.gateway.get_many(["a", "b", "c"])
    tallies = assembly.gateway.tallies
    assert (sum(tallies["set_many"].durations.counts), tallies["set_many"].items) == (1, 2)
    assert (sum(tallies["get_many"].durations.counts), tallies["get_many"].items) == (1, 3)


async def test_a_refused_operation_is_not_counted(build: Any) -> None:
    assembly = build()
    with pytest.raises(NotServing):
        await assembly.gateway.get("k")
    await assembly.run()
    with pytest.raises(InvalidArgument):
        await assembly.gateway.get("")
    with ExitStack() as stack:
        for _ in range(10):
            stack.enter_context(assembly.admission.admit())
        with pytest.raises(Exhausted):
            await assembly.gateway.get("k")
    assert sum(assembly.gateway.tallies["get"].durations.counts) == 0
    assert (assembly.admission.refused, assembly.admission.shed) == (1, 1)


async def test_an_aborted_operation_counts_as_not_serving(build: Any) -> None:
    assembly = build()
    await assembly.run()
    tally = OperationTally()

    async def stuck() -> None:
        with assembly.admission.admit(tally):
            await asyncio.Event().wait()

    waiting = asyncio.create_task(stuck())
    await asyncio.sleep(0)
    await assembly.lifecycle.drain(timedelta())
    with pytest.raises(NotServing):
        await waiting
    assert tally.failed == {NotServing: 1}
