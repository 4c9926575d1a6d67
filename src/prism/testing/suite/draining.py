"""Group Lifecycle: a drain loses nothing that is in flight, and waits for no longer than told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from prism.ports import DrainReport, NotServing, Outcome, PrismError, State
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.group import Group, group
from prism.testing.suite.timing import wait_until
from prism.testing.suite.wrapper import DriverCapture, OperationBlocker

IN_FLIGHT = 8
SOON = timedelta(milliseconds=100)
LATE = timedelta(seconds=30)


@group()
class Draining(Group):
    """drain, with operations in flight."""

    async def test_drain_of_an_idle_backend_is_empty(self, open_backend: OpenBackend) -> None:
        async with open_backend() as backend:
            assert await backend.lifecycle.drain(LATE) == DrainReport(completed=0, aborted=0)

    async def test_finished_operations_are_not_in_a_drain_report(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with open_backend() as backend:
            for number in range(5):
                await backend.kv.set(f"{prefix}{number}", b"value")
            assert await backend.lifecycle.drain(LATE) == DrainReport(completed=0, aborted=0)

    async def test_drain_finishes_what_is_in_flight_and_counts_it(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _writes_held(backend, blocker, prefix) as writes,
        ):
            drain = await _begin_drain(backend, LATE)
            blocker.release()
            versions = await asyncio.gather(*writes)
            assert len(set(versions)) == IN_FLIGHT
            assert await drain == DrainReport(completed=IN_FLIGHT, aborted=0)

    async def test_a_drain_loses_no_acknowledged_write(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        driver = DriverCapture()
        async with open_backend(wrap=driver.capture) as backend:
            for number in range(IN_FLIGHT):
                await backend.kv.set(f"{prefix}{number}", b"%d" % number)
            await backend.lifecycle.drain(LATE)
            # Past the gateway, which refuses: the driver stays open until it is stopped.
            for number in range(IN_FLIGHT):
                entry = await driver.driver.get(f"{prefix}{number}")
                assert entry is not None
                assert entry.value == b"%d" % number

    async def test_drain_does_not_end_before_what_is_in_flight(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _writes_held(backend, blocker, prefix) as writes,
        ):
            drain = await _begin_drain(backend, LATE)
            # Whatever it takes to answer a call or two, it has had the time.
            for _ in range(5):
                await backend.lifecycle.health()
            assert not drain.done()
            assert not any(write.done() for write in writes)
            blocker.release()
            await drain
            await asyncio.gather(*writes)

    async def test_new_operations_are_refused_while_draining(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _writes_held(backend, blocker, prefix) as writes,
        ):
            drain = await _begin_drain(backend, LATE)
            for _ in range(3):
                with pytest.raises(NotServing) as refusal:
                    await backend.kv.set(f"{prefix}new", b"value")
                assert refusal.value.outcome is Outcome.NOT_APPLIED
            blocker.release()
            await asyncio.gather(*writes)
            # The refused are in nobody's count.
            assert await drain == DrainReport(completed=IN_FLIGHT, aborted=0)

    async def test_what_takes_too_long_is_aborted_and_counted(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _writes_held(backend, blocker, prefix) as writes,
        ):
            report = await backend.lifecycle.drain(SOON)
            assert report == DrainReport(completed=0, aborted=IN_FLIGHT)
            await blocker.wait_for(0)
            outcomes = await asyncio.gather(*writes, return_exceptions=True)
            assert [each for each in outcomes if not isinstance(each, PrismError)] == []

    async def test_an_aborted_write_has_an_unknown_outcome(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _writes_held(backend, blocker, prefix) as writes,
        ):
            await backend.lifecycle.drain(SOON)
            for outcome in await asyncio.gather(*writes, return_exceptions=True):
                assert isinstance(outcome, PrismError)
                assert outcome.outcome is Outcome.UNKNOWN

    async def test_the_quick_complete_and_the_slow_are_aborted(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        quick, slow = OperationBlocker(), OperationBlocker()
        async with (
            open_backend(wrap=lambda driver: slow.wrap(quick.wrap(driver))) as backend,
            _writes_held(backend, quick, f"{prefix}quick/") as few,
            _writes_held(backend, slow, f"{prefix}slow/") as many,
        ):
            drain = await _begin_drain(backend, timedelta(seconds=1))
            quick.release()
            await asyncio.gather(*few)
            assert await drain == DrainReport(completed=IN_FLIGHT, aborted=IN_FLIGHT)
            await asyncio.gather(*many, return_exceptions=True)

    async def test_a_repeated_drain_reports_the_same(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _writes_held(backend, blocker, prefix) as writes,
        ):
            drain = await _begin_drain(backend, LATE)
            again = asyncio.create_task(backend.lifecycle.drain(SOON))
            blocker.release()
            await asyncio.gather(*writes)
            report = await drain
            assert report == DrainReport(completed=IN_FLIGHT, aborted=0)
            assert await again == report
            assert await backend.lifecycle.drain(SOON) == report

    async def test_stop_without_a_drain_leaves_nobody_waiting(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        blocker = OperationBlocker()
        async with (
            open_backend(wrap=blocker.wrap) as backend,
            _writes_held(backend, blocker, prefix) as writes,
        ):
            await backend.lifecycle.stop(timedelta(seconds=5))
            for outcome in await asyncio.gather(*writes, return_exceptions=True):
                assert isinstance(outcome, PrismError)
                assert outcome.outcome is Outcome.UNKNOWN


@asynccontextmanager
async def _writes_held(
    backend: Backend, blocker: OperationBlocker, prefix: str
) -> AsyncIterator[list[asyncio.Task[Any]]]:
    """Writes that have reached the driver and stay there until the blocker opens."""
    blocker.block()
    writes = [
        asyncio.create_task(backend.kv.set(f"{prefix}{number}", b"%d" % number))
        for number in range(IN_FLIGHT)
    ]
    try:
        await blocker.wait_for(IN_FLIGHT)
        yield writes
    finally:
        # A test that failed half-way leaves nothing behind that closing waits for.
        blocker.release()
        for write in writes:
            write.cancel()
        await asyncio.gather(*writes, return_exceptions=True)


async def _begin_drain(backend: Backend, timeout: timedelta) -> asyncio.Task[DrainReport]:
    drain = asyncio.create_task(backend.lifecycle.drain(timeout))

    async def draining() -> bool:
        return await backend.lifecycle.state() is State.DRAINING

    await wait_until(draining, "the drain begins")
    return drain
