"""Readiness from lifecycle state and health checks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.memstore import Memstore
from prism.domain.readiness import Readiness, ReadinessMonitor
from prism.ports import Health, HealthStatus


class Ailing(Memstore):
    """Driver with a given health; None: its health check hangs."""

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
    build: Callable[..., Any], driver: Ailing, threshold: int = 3, timeout_s: float = 30
) -> AsyncIterator[ReadinessMonitor]:
    assembly = build(driver=driver)
    monitor = ReadinessMonitor(
        assembly.lifecycle,
        interval=timedelta(milliseconds=1),
        timeout=timedelta(seconds=timeout_s),
        threshold=threshold,
    )
    await assembly.run()
    task = asyncio.create_task(monitor.watch())
    try:
        yield monitor
    finally:
        task.cancel()


async def becomes(monitor: ReadinessMonitor, ready: bool) -> Readiness:
    changed = asyncio.Event()
    monitor.observe(lambda now: changed.set() if now.ready is ready else None)
    async with asyncio.timeout(30):
        await changed.wait()
    return monitor.current


async def test_a_driver_is_ready_only_while_running(build: Any) -> None:
    assembly = build()
    monitor = ReadinessMonitor(assembly.lifecycle)
    reported: list[Readiness] = []
    monitor.observe(reported.append)
    await assembly.run()
    await assembly.lifecycle.drain()
    assert [now.ready for now in reported] == [False, False, True, False]
    assert reported[0].reason == "the driver is created"
    assert reported[-1].reason == "the driver is draining"


async def test_consecutive_failures_end_readiness_and_one_success_restores_it(build: Any) -> None:
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
        async with asyncio.timeout(30):
            await driver.checked_twice.wait()
        assert monitor.current.ready


async def test_a_check_that_times_out_is_a_failure(build: Any) -> None:
    driver = Ailing()
    driver.status = None
    async with watched(build, driver, timeout_s=0.005) as monitor:
        assert "no answer" in (await becomes(monitor, ready=False)).reason


async def test_a_withdrawn_process_is_not_ready_but_serves_calls(build: Any) -> None:
    assembly = build()
    await assembly.run()
    monitor = ReadinessMonitor(assembly.lifecycle)
    monitor.withdraw("shutting down")
    assert monitor.current == Readiness(False, "shutting down")
    assert await assembly.gateway.get("k") is None


async def test_the_reason_names_what_a_starting_driver_waits_for(build: Any) -> None:
    assembly = build()
    monitor = ReadinessMonitor(assembly.lifecycle)
    reported: list[str] = []
    monitor.observe(lambda now: reported.append(now.reason))
    monitor.set_waiting_for("the proxy")
    await assembly.run()
    await assembly.lifecycle.stop()
    assert reported == [
        "the driver is created",
        "the driver is created, waiting for the proxy",
        "the driver is initialized, waiting for the proxy",
        "ready",
        "the driver is stopped",
    ]


async def test_observers_are_called_with_the_result_of_each_check(build: Any) -> None:
    driver = Ailing()
    async with watched(build, driver) as monitor:
        found: asyncio.Queue[Health] = asyncio.Queue()
        monitor.observe_checks(found.put_nowait)
        async with asyncio.timeout(30):
            assert (await found.get()).status is HealthStatus.HEALTHY
            driver.status = HealthStatus.DEGRADED
            while (await found.get()).status is not HealthStatus.DEGRADED:
                pass


async def test_each_change_is_logged_once(
    build: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    driver = Ailing()
    with caplog.at_level(logging.INFO, "prism.domain.readiness"):
        async with watched(build, driver) as monitor:
            await becomes(monitor, True)
            driver.status = HealthStatus.UNHEALTHY
            await becomes(monitor, False)
            driver.status = HealthStatus.HEALTHY
            await becomes(monitor, True)
    assert caplog.messages == ["not ready: the backend is away", "ready again"]
