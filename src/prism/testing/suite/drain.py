"""Group lifecycle: drains with operations in flight."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from prism.ports import DrainReport, NotServing, Outcome, PrismError, State, Version
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.group import Group, group
from prism.testing.suite.timing import wait_until
from prism.testing.suite.wrapper import DriverCapture, OperationBlocker

IN_FLIGHT = 8
SHORT_TIMEOUT = timedelta(milliseconds=100)
LONG_TIMEOUT = timedelta(seconds=30)


@group()
class Drains(Group):
    """A drain loses no operation in flight, and waits no longer than its timeout."""

    async def test_drain_of_an_idle_backend_reports_nothing(
        self, open_backend: OpenBackend
    ) -> None:
        async with open_backend() as backend:
            assert await backend.lifecycle.drain(LONG_TIMEOUT) == DrainReport(
                completed=0, aborted=0
            )

    async def test_finished_operations_are_not_in_a_drain_report(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with open_backend() as backend:
            for number in range(5):
                await backend.kv.set(f"{prefix}{number}", b"value")
            assert await backend.lifecycle.drain(LONG_TIMEOUT) == DrainReport(
                completed=0, aborted=0
            )

    async def test_drain_completes_and_counts_operations_in_flight(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with _writes_in_flight(open_backend, prefix) as (backend, blocker, writes):
            drain = await _start_drain(backend, LONG_TIMEOUT)
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
            await backend.lifecycle.drain(LONG_TIMEOUT)
            # Not through the gateway, which refuses. The driver itself is open until it is stopped.
            for number in range(IN_FLIGHT):
                entry = await driver.driver.get(f"{prefix}{number}")
                assert entry is not None
                assert entry.value == b"%d" % number

    async def test_drain_waits_for_operations_in_flight(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with _writes_in_flight(open_backend, prefix) as (backend, blocker, writes):
            drain = await _start_drain(backend, LONG_TIMEOUT)
            # Time enough for a drain that does not wait to end.
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
        async with _writes_in_flight(open_backend, prefix) as (backend, blocker, writes):
            drain = await _start_drain(backend, LONG_TIMEOUT)
            for _ in range(3):
                with pytest.raises(NotServing) as refusal:
                    await backend.kv.set(f"{prefix}new", b"value")
                assert refusal.value.outcome is Outcome.NOT_APPLIED
            blocker.release()
            await asyncio.gather(*writes)
            # Refused operations are not counted.
            assert await drain == DrainReport(completed=IN_FLIGHT, aborted=0)

    async def test_operations_over_the_drain_timeout_are_aborted_and_counted(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with _writes_in_flight(open_backend, prefix) as (backend, blocker, writes):
            report = await backend.lifecycle.drain(SHORT_TIMEOUT)
            assert report == DrainReport(completed=0, aborted=IN_FLIGHT)
            await blocker.wait_for(0)
            outcomes = await asyncio.gather(*writes, return_exceptions=True)
            assert [each for each in outcomes if not isinstance(each, PrismError)] == []

    async def test_an_aborted_write_has_an_unknown_outcome(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with _writes_in_flight(open_backend, prefix) as (backend, _, writes):
            await backend.lifecycle.drain(SHORT_TIMEOUT)
            for outcome in await asyncio.gather(*writes, return_exceptions=True):
                assert isinstance(outcome, PrismError)
                assert outcome.outcome is Outcome.UNKNOWN

    async def test_drain_completes_quick_and_aborts_slow_operations(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        quick, slow = OperationBlocker(), OperationBlocker()
        async with (
            open_backend(wrap=lambda driver: slow.wrap(quick.wrap(driver))) as backend,
            _blocked_writes(backend, quick, f"{prefix}quick/") as few,
            _blocked_writes(backend, slow, f"{prefix}slow/") as many,
        ):
            drain = await _start_drain(backend, timedelta(seconds=1))
            quick.release()
            await asyncio.gather(*few)
            assert await drain == DrainReport(completed=IN_FLIGHT, aborted=IN_FLIGHT)
            await asyncio.gather(*many, return_exceptions=True)

    async def test_a_repeated_drain_reports_the_same(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with _writes_in_flight(open_backend, prefix) as (backend, blocker, writes):
            drain = await _start_drain(backend, LONG_TIMEOUT)
            again = asyncio.create_task(backend.lifecycle.drain(SHORT_TIMEOUT))
            blocker.release()
            await asyncio.gather(*writes)
            report = await drain
            assert report == DrainReport(completed=IN_FLIGHT, aborted=0)
            assert await again == report
            assert await backend.lifecycle.drain(SHORT_TIMEOUT) == report

    async def test_stop_without_a_drain_fails_operations_in_flight(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with _writes_in_flight(open_backend, prefix) as (backend, _, writes):
            await backend.lifecycle.stop(timedelta(seconds=5))
            for outcome in await asyncio.gather(*writes, return_exceptions=True):
                assert isinstance(outcome, PrismError)
                assert outcome.outcome is Outcome.UNKNOWN


@asynccontextmanager
async def _writes_in_flight(
    open_backend: OpenBackend, prefix: str
) -> AsyncIterator[tuple[Backend, OperationBlocker, list[asyncio.Task[Version]]]]:
    """Open a backend whose writes wait in the driver until the blocker releases them."""
    blocker = OperationBlocker()
    async with (
        open_backend(wrap=blocker.wrap) as backend,
        _blocked_writes(backend, blocker, prefix) as writes,
    ):
        yield backend, blocker, writes


@asynccontextmanager
async def _blocked_writes(
    backend: Backend, blocker: OperationBlocker, prefix: str
) -> AsyncIterator[list[asyncio.Task[Version]]]:
    """Start writes that reach the driver and wait there until the blocker releases them."""
    blocker.block()
    writes = [
        asyncio.create_task(backend.kv.set(f"{prefix}{number}", b"%d" % number))
        for number in range(IN_FLIGHT)
    ]
    try:
        await blocker.wait_for(IN_FLIGHT)
        yield writes
    finally:
        # After a failed test too, so that closing the backend does not wait.
        blocker.release()
        for write in writes:
            write.cancel()
        await asyncio.gather(*writes, return_exceptions=True)


async def _start_drain(backend: Backend, timeout: timedelta) -> asyncio.Task[DrainReport]:
    drain = asyncio.create_task(backend.lifecycle.drain(timeout))

    async def draining() -> bool:
        return await backend.lifecycle.state() is State.DRAINING

    await wait_until(draining, "the drain starts")
    return drain
