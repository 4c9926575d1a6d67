"""What goes wrong in a driver's life; the acceptance suite has the table of states."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.memstore import DRIVER, Memstore
from prism.domain.admission import Admission
from prism.domain.lifecycle import LifecycleMachine
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    DrainReport,
    Health,
    HealthStatus,
    IllegalTransition,
    InvalidArgument,
    NotServing,
    State,
)


class Failing(Memstore):
    """Fails one command, with the error given."""

    def __init__(self, **errors: Exception) -> None:
        super().__init__()
        self.errors = errors

    async def initialize(self, settings: Any) -> None:
        if "initialize" in self.errors:
            raise self.errors["initialize"]
        await super().initialize(settings)

    async def start(self) -> None:
        if "start" in self.errors:
            raise self.errors["start"]
        await super().start()


class Hanging(Memstore):
    """Does not close until released."""

    release: asyncio.Event

    async def stop(self, timeout: timedelta = timedelta(seconds=1)) -> None:
        if hasattr(self, "release"):
            await self.release.wait()
        await super().stop(timeout)


class Blabbing(Memstore):
    """Quotes a secret wherever it can."""

    async def start(self) -> None:
        raise BackendUnavailable("cannot log in with hunter2")

    async def health(self) -> Health:
        return Health(HealthStatus.DEGRADED, "hunter2 is refused", {"last_error": "AUTH hunter2"})


@pytest.fixture
def blabbing() -> LifecycleMachine:
    admission = Admission(max_in_flight=10, max_per_connection=10)
    return LifecycleMachine(
        Blabbing(), DRIVER.settings, admission, redact=lambda text: text.replace("hunter2", "***")
    )


async def test_a_secret_in_an_error_is_hidden_from_everybody(blabbing: LifecycleMachine) -> None:
    await blabbing.initialize({})
    with pytest.raises(BackendUnavailable) as raised:
        await blabbing.start()
    assert raised.value.message == "cannot log in with ***"
    assert str(raised.value) == "cannot log in with ***"
    assert blabbing.failure == "start failed: cannot log in with ***"
    assert "cannot log in with ***" in (await blabbing.health()).message


async def test_a_secret_in_a_health_is_hidden(blabbing: LifecycleMachine) -> None:
    await blabbing.initialize({})
    expected = Health(HealthStatus.DEGRADED, "*** is refused", {"last_error": "AUTH ***"})
    assert await blabbing.health() == expected


async def test_a_bad_setting_fails_the_driver_and_says_why(build: Any) -> None:
    house = build()
    with pytest.raises(InvalidArgument, match="unknown setting 'max_kees'"):
        await house.lifecycle.initialize({"max_kees": "1"})
    assert house.lifecycle.current is State.FAILED
    health = await house.lifecycle.health()
    assert health.status is HealthStatus.UNHEALTHY
    assert "unknown setting 'max_kees'" in health.message


async def test_a_failed_driver_can_only_be_stopped(build: Any) -> None:
    house = build(driver=Failing(start=BackendUnavailable("gone")))
    await house.lifecycle.initialize({})
    with pytest.raises(BackendUnavailable):
        await house.lifecycle.start()
    with pytest.raises(IllegalTransition, match="the driver is failed, and becomes initialized"):
        await house.lifecycle.initialize({})
    await house.lifecycle.stop()
    assert house.lifecycle.current is State.STOPPED


async def test_the_text_of_an_unknown_error_is_not_shown(build: Any) -> None:
    house = build(driver=Failing(initialize=RuntimeError("redis://user:hunter2@host")))
    with pytest.raises(RuntimeError):
        await house.lifecycle.initialize({})
    assert "hunter2" not in (await house.lifecycle.health()).message


async def test_other_settings_after_initialize_are_refused(build: Any) -> None:
    house = build()
    await house.lifecycle.initialize({"max_keys": "5"})
    await house.lifecycle.initialize({"max_keys": "5"})
    with pytest.raises(IllegalTransition, match="other settings"):
        await house.lifecycle.initialize({"max_keys": "6"})
    assert house.lifecycle.current is State.INITIALIZED


async def test_a_driver_that_does_not_close_is_cut_short(build: Any) -> None:
    driver = Hanging()
    house = build(driver=driver)
    await house.run()
    driver.release = asyncio.Event()
    with pytest.raises(BackendTimeout, match="did not stop within"):
        await house.lifecycle.stop(timedelta(milliseconds=10))
    assert house.lifecycle.current is State.FAILED
    driver.release.set()


async def test_a_caller_that_goes_away_does_not_stop_a_command(build: Any) -> None:
    driver = Hanging()
    house = build(driver=driver)
    await house.run()
    driver.release = asyncio.Event()
    stopped = asyncio.Event()
    house.lifecycle.observe(lambda state: stopped.set() if state is State.STOPPED else None)
    caller = asyncio.create_task(house.lifecycle.stop())
    await asyncio.wait({caller}, timeout=0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    driver.release.set()
    async with asyncio.timeout(5):
        await stopped.wait()


async def test_observers_see_every_state_in_order(build: Any) -> None:
    house = build()
    seen: list[State] = []
    house.lifecycle.observe(seen.append)
    await house.run()
    await house.lifecycle.drain()
    await house.lifecycle.stop()
    assert seen == [State.INITIALIZED, State.RUNNING, State.DRAINING, State.STOPPED]


class Stuck(Memstore):
    """Hangs in the command named, and says that it is there."""

    def __init__(self, command: str) -> None:
        super().__init__()
        self.command = command
        self.reached = asyncio.Event()

    async def _hang(self, command: str) -> None:
        if command == self.command:
            self.reached.set()
            await asyncio.Event().wait()

    async def initialize(self, settings: Any) -> None:
        await self._hang("initialize")
        await super().initialize(settings)

    async def start(self) -> None:
        await self._hang("start")
        await super().start()

    async def drain(self, timeout: timedelta = timedelta(seconds=1)) -> DrainReport:
        await self._hang("drain")
        return DrainReport(completed=2, aborted=1)

    async def health(self) -> Health:
        raise RuntimeError("hunter2")


@pytest.mark.parametrize("command", ["initialize", "start"])
async def test_a_driver_that_hangs_while_it_comes_up_can_be_stopped(
    build: Any, command: str
) -> None:
    driver = Stuck(command)
    house = build(driver=driver)
    running = asyncio.create_task(house.run())
    await driver.reached.wait()
    async with asyncio.timeout(5):
        await house.lifecycle.stop()
    with pytest.raises(NotServing, match=f"{command} was cancelled by a stop"):
        await running
    assert house.lifecycle.current is State.STOPPED


async def test_a_driver_that_hangs_in_a_drain_is_cut_short(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prism.domain.lifecycle._DRAIN_GRACE_S", 0.01)
    house = build(driver=Stuck("drain"))
    await house.run()
    with pytest.raises(BackendTimeout, match="did not drain within"):
        await house.lifecycle.drain(timedelta(milliseconds=10))
    assert house.lifecycle.current is State.FAILED
    with pytest.raises(NotServing, match="failed"):
        await house.gateway.get("k")


async def test_what_a_driver_drained_itself_is_counted_too(build: Any) -> None:
    house = build(driver=Stuck("nothing"))
    await house.run()
    assert await house.lifecycle.drain() == DrainReport(completed=2, aborted=1)


async def test_a_health_check_that_raises_is_unhealthy(build: Any) -> None:
    house = build(driver=Stuck("nothing"))
    await house.run()
    health = await house.lifecycle.health()
    assert health.status is HealthStatus.UNHEALTHY
    assert "hunter2" not in health.message
