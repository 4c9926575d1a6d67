"""Whether to send work here."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from prism.adapters.memstore import Memstore
from prism.domain.readiness import Readiness, ReadinessMonitor
from prism.ports import Health, HealthStatus


class Ailing(Memstore):
    """Healthy or not, as told; None: gives no answer at all."""

    status: HealthStatus | None = HealthStatus.HEALTHY
    checks = 0

    def __init__(self) -> None:
        super().__init__()
        self.checked_twice = asyncio.Event()

    async def health(self) -> Health:
        self.checks += 1
        if self.checks > 1:
            self.checked_twice.set()
        if self.status is None:
            await asyncio.Event().wait()
        assert self.status is not None
        return Health(self.status, "the backend is away")


@asynccontextmanager
async def watched(
    build: Callable[..., Any], driver: Ailing, threshold: int = 3
) -> AsyncIterator[ReadinessMonitor]:
    house = build(driver=driver)
    monitor = ReadinessMonitor(
        house.lifecycle,
        interval=timedelta(milliseconds=1),
        timeout=timedelta(milliseconds=5),
        threshold=threshold,
    )
    await house.run()
    task = asyncio.create_task(monitor.watch())
    try:
        yield monitor
    finally:
        task.cancel()


async def becomes(monitor: ReadinessMonitor, ready: bool) -> Readiness:
    changed = asyncio.Event()
    monitor.observe(lambda now: changed.set() if now.ready is ready else None)
    async with asyncio.timeout(5):
        await changed.wait()
    return monitor.current


async def test_it_is_ready_only_while_running(build: Any) -> None:
    house = build()
    monitor = ReadinessMonitor(house.lifecycle)
    told: list[Readiness] = []
    monitor.observe(told.append)
    await house.run()
    await house.lifecycle.drain()
    assert [now.ready for now in told] == [False, False, True, False]
    assert told[0].reason == "the driver is created"
    assert told[-1].reason == "the driver is draining"


async def test_failures_in_a_row_make_it_not_ready_and_one_success_ready_again(build: Any) -> None:
    driver = Ailing()
    async with watched(build, driver) as monitor:
        await becomes(monitor, ready=True)
        driver.status = HealthStatus.UNHEALTHY
        before = driver.checks
        assert (await becomes(monitor, ready=False)).reason == "the backend is away"
        assert driver.checks - before >= 3
        driver.status = HealthStatus.HEALTHY
        await becomes(monitor, ready=True)


async def test_a_degraded_backend_is_ready(build: Any) -> None:
    driver = Ailing()
    driver.status = HealthStatus.DEGRADED
    async with watched(build, driver, threshold=1) as monitor:
        async with asyncio.timeout(5):
            await driver.checked_twice.wait()
        assert monitor.current.ready


async def test_a_check_without_an_answer_is_a_failure(build: Any) -> None:
    driver = Ailing()
    driver.status = None
    async with watched(build, driver) as monitor:
        assert "no answer" in (await becomes(monitor, ready=False)).reason


async def test_leaving_is_not_ready_while_calls_are_still_served(build: Any) -> None:
    house = build()
    await house.run()
    monitor = ReadinessMonitor(house.lifecycle)
    monitor.withdraw("shutting down")
    assert monitor.current == Readiness(False, "shutting down")
    assert await house.gateway.get("k") is None


async def test_what_a_driver_that_does_not_run_yet_waits_for_is_said(build: Any) -> None:
    house = build()
    monitor = ReadinessMonitor(house.lifecycle)
    told: list[str] = []
    monitor.observe(lambda now: told.append(now.reason))
    monitor.set_waiting_for("the proxy")
    await house.run()
    await house.lifecycle.stop()
    assert told == [
        "the driver is created",
        "the driver is created, waiting for the proxy",
        "the driver is initialized, waiting for the proxy",
        "ready",
        "the driver is stopped",
    ]


async def test_what_each_check_finds_is_told(build: Any) -> None:
    driver = Ailing()
    async with watched(build, driver) as monitor:
        found: asyncio.Queue[Health] = asyncio.Queue()
        monitor.observe_checks(found.put_nowait)
        async with asyncio.timeout(5):
            assert (await found.get()).status is HealthStatus.HEALTHY
            driver.status = HealthStatus.DEGRADED
            while (await found.get()).status is not HealthStatus.DEGRADED:
                pass
