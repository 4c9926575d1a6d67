"""Group lifecycle: what a stopped backend leaves behind, and what a driver says of itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from prism.ports import Capability, Health, HealthStatus, PrismError, State
from prism.testing.suite.backend import Backend, Level, OpenBackend
from prism.testing.suite.calls import gather_bounded
from prism.testing.suite.group import NOT_REACHABLE, Group, group
from prism.testing.suite.operations import SAMPLES
from prism.testing.suite.resources import Resources
from prism.testing.suite.timing import LONG, time_limit
from prism.testing.suite.wrapper import DriverCapture

_STOP_TIMEOUT = timedelta(seconds=5)
_STOP_SECONDS = 10.0
_CALLS = 20
_BACKENDS = 6
_READERS = 3


@group()
class Endings(Group):
    """A stopped backend holds nothing, and says that it is stopped."""

    async def test_stop_leaves_no_task_no_thread_and_no_descriptor(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        # The first backend leaves what a process has once, such as a resolver's thread.
        await _use_and_stop(open_backend, prefix)
        before = Resources.of(Level.IN_PROCESS)
        for _ in range(_BACKENDS):
            await _use_and_stop(open_backend, prefix)
        # A library may keep some for its next use, as SQLite does while the file is open
        # elsewhere; a leak is at least one for each backend.
        await before.wait_for_return(
            f"{_BACKENDS} backends that were stopped", kept_descriptors=_BACKENDS - 1
        )

    async def test_stop_with_calls_and_watches_open_leaves_nothing(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        await _stop_in_use(open_backend, prefix)
        before = Resources.of(Level.IN_PROCESS)
        await _stop_in_use(open_backend, prefix)
        await before.wait_for_return("a backend that was stopped while it was in use")

    async def test_the_health_of_a_driver_tells_that_it_is_not_open(
        self, open_backend: OpenBackend
    ) -> None:
        captured = DriverCapture()
        async with open_backend(wrap=captured.capture, start=False) as backend:
            if await backend.lifecycle.state() is State.CREATED:
                await _check_not_open(captured, "a driver that was not initialized")
                await backend.lifecycle.initialize(backend.settings)
                await backend.lifecycle.start()
            assert (await captured.driver.health()).status is not HealthStatus.UNHEALTHY
            await backend.lifecycle.stop(_STOP_TIMEOUT)
            await _check_not_open(captured, "a driver that was stopped")

    async def test_the_profile_of_a_running_driver_is_one_object(
        self, open_backend: OpenBackend, key: str
    ) -> None:
        captured = DriverCapture()
        async with open_backend(wrap=captured.capture) as backend:
            before = captured.driver.profile
            await _use(backend, key)
            assert captured.driver.profile is before, (
                "`profile` makes a new object: make it once, in `initialize`, because it is "
                "asked for at every operation"
            )
            await backend.lifecycle.drain(_STOP_TIMEOUT)
            assert captured.driver.profile == before


async def _check_not_open(captured: DriverCapture, what: str) -> None:
    async with time_limit(_STOP_SECONDS, f"health of {what}"):
        health = await captured.driver.health()
    assert isinstance(health, Health)
    assert health.status is HealthStatus.UNHEALTHY, f"{what} says it is {health.status}"
    assert health.message


async def _use_and_stop(open_backend: OpenBackend, prefix: str) -> None:
    async with open_backend() as backend:
        _skip_unless_in_process(backend)
        await _use(backend, prefix)
        async with time_limit(_STOP_SECONDS, "stop of an idle backend"):
            await backend.lifecycle.stop(_STOP_TIMEOUT)


async def _stop_in_use(open_backend: OpenBackend, prefix: str) -> None:
    """Stop a backend that has calls in flight, watches that wait, and keys that will expire."""
    async with open_backend() as backend:
        _skip_unless_in_process(backend)
        kv, declared = backend.kv, backend.profile.capabilities

        async def watch() -> None:
            async with kv.watch(prefix) as events:
                async for _ in events:
                    pass

        tasks = []
        if Capability.WATCH in declared:
            tasks += [asyncio.create_task(watch()) for _ in range(_READERS)]
        if Capability.TTL in declared:
            await kv.set(f"{prefix}expires", b"value", ttl=LONG)
        tasks += [
            asyncio.create_task(_call_until_refused(backend, f"{prefix}{number}"))
            for number in range(_CALLS)
        ]
        for _ in range(20):
            await asyncio.sleep(0)
        async with time_limit(_STOP_SECONDS, "stop of a backend in use"):
            await backend.lifecycle.stop(_STOP_TIMEOUT)
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, PrismError):
                raise outcome


async def _call_until_refused(backend: Backend, key: str) -> None:
    while True:
        await backend.kv.set(key, b"value")
        await backend.kv.get(key)
        await asyncio.sleep(0)


async def _use(backend: Backend, key: str) -> None:
    """Make every call that is declared, several at once."""
    declared = [each for each in SAMPLES if each.is_declared_by(backend.profile)]
    await backend.kv.set(key, b"1")

    async def call(number: int) -> None:
        with suppress(PrismError):
            await declared[number % len(declared)].call(backend.kv, key)

    await gather_bounded(call(number) for number in range(2 * len(declared)))


def _skip_unless_in_process(backend: Backend) -> None:
    if backend.level is not Level.IN_PROCESS:
        pytest.skip(f"{NOT_REACHABLE}the driver's resources are those of the server")
