"""Admission: limits, connections and drains."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from prism.domain.admission import Admission, connection
from prism.ports import DrainReport, Exhausted, NotServing, Outcome


class Work:
    """Operations that stay in flight until they are released."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.release = asyncio.Event()

    async def begin(self, name: str = "") -> asyncio.Task[str]:
        entered = asyncio.Event()

        async def operate() -> str:
            connection.set(name)
            with self.admission.admit():
                entered.set()
                await self.release.wait()
            return "done"

        task = asyncio.create_task(operate())
        await asyncio.wait(
            {task, asyncio.create_task(entered.wait())}, return_when=asyncio.FIRST_COMPLETED
        )
        return task


def opened(*, max_in_flight: int = 10, max_per_connection: int = 10) -> Admission:
    admission = Admission(max_in_flight=max_in_flight, max_per_connection=max_per_connection)
    admission.open()
    return admission


def test_a_new_admission_refuses_operations() -> None:
    admission = Admission(max_in_flight=1, max_per_connection=1)
    with pytest.raises(NotServing, match="not started"):
        admission.admit()


async def test_an_operation_above_the_total_limit_is_refused() -> None:
    work = Work(opened(max_in_flight=2))
    tasks = [await work.begin(), await work.begin()]
    with pytest.raises(Exhausted, match="limit of 2 calls in flight") as refused:
        await (await work.begin())
    assert refused.value.outcome is Outcome.NOT_APPLIED
    work.release.set()
    assert await asyncio.gather(*tasks) == ["done", "done"]
    assert await (await work.begin()) == "done"


async def test_a_connection_at_its_limit_does_not_affect_another() -> None:
    work = Work(opened(max_per_connection=1))
    first = await work.begin("a")
    with pytest.raises(Exhausted, match="limit of 1 call in flight on this connection"):
        await (await work.begin("a"))
    second = await work.begin("b")
    work.release.set()
    await asyncio.gather(first, second)
    assert work.admission.in_flight == 0
    assert await (await work.begin("a")) == "done"


async def test_a_drain_waits_for_operations_in_flight_and_counts_them() -> None:
    work = Work(opened())
    tasks = [await work.begin(), await work.begin()]
    work.admission.close("draining")
    drain = asyncio.create_task(work.admission.drain(timedelta(seconds=30)))
    with pytest.raises(NotServing, match="draining"):
        await (await work.begin())
    assert not drain.done()
    work.release.set()
    assert await drain == DrainReport(completed=2)
    assert await asyncio.gather(*tasks) == ["done", "done"]


async def test_a_drain_timeout_aborts_operations_with_an_unknown_outcome() -> None:
    work = Work(opened())
    task = await work.begin()
    work.admission.close("draining")
    assert await work.admission.drain(timedelta()) == DrainReport(aborted=1)
    with pytest.raises(NotServing, match="aborted") as aborted:
        await task
    assert aborted.value.outcome is Outcome.UNKNOWN


async def test_a_cancelled_operation_is_no_longer_in_flight() -> None:
    work = Work(opened())
    task = await work.begin("a")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.admission.in_flight == 0


async def test_a_task_is_usable_after_its_operation_was_aborted() -> None:
    admission = opened()
    release = asyncio.Event()
    entered = asyncio.Event()

    async def operate_then_clean_up() -> str:
        try:
            with admission.admit():
                entered.set()
                await release.wait()
        except NotServing:
            task = asyncio.current_task()
            assert task is not None
            # A cancellation that is left over would break any later timeout of this task.
            return f"{task.cancelling()} cancellations left"
        return "not aborted"

    task = asyncio.create_task(operate_then_clean_up())
    await entered.wait()
    admission.close("draining")
    await admission.drain(timedelta())
    assert await task == "0 cancellations left"
