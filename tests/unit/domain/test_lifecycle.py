"""Failures of lifecycle commands; the acceptance suite tests the table of states."""

from __future__ import annotations

import asyncio
import gc
import logging
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.memstore import DRIVER, Memstore
from prism.domain.admission import Admission
from prism.domain.lifecycle import CommandQueue, LifecycleMachine
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
    """Driver in which one command fails with a given error."""

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
    """Driver whose stop waits until it is released."""

    release: asyncio.Event

    async def stop(self, timeout: timedelta = timedelta(seconds=1)) -> None:
        if hasattr(self, "release"):
            await self.release.wait()
        await super().stop(timeout)


class Leaking(Memstore):
    """Driver that quotes a secret in errors and health."""

    async def start(self) -> None:
        raise BackendUnavailable("cannot log in with hunter2")

    async def health(self) -> Health:
        return Health(HealthStatus.DEGRADED, "hunter2 is refused", {"last_error": "AUTH hunter2"})


@pytest.fixture
def leaking() -> LifecycleMachine:
    admission = Admission(max_in_flight=10, max_per_connection=10)
    return LifecycleMachine(
        Leaking(), DRIVER.settings, admission, redact=lambda text: text.replace("hunter2", "***")
    )


async def test_a_secret_in_an_error_is_redacted_everywhere(leaking: LifecycleMachine) -> None:
    await leaking.initialize({})
    with pytest.raises(BackendUnavailable) as raised:
        await leaking.start()
    assert raised.value.message == "cannot log in with ***"
    assert str(raised.value) == "cannot log in with ***"
    assert leaking.failure == "start failed: cannot log in with ***"
    assert "cannot log in with ***" in (await leaking.health()).message


async def test_a_secret_in_the_health_is_redacted(leaking: LifecycleMachine) -> None:
    await leaking.initialize({})
    expected = Health(HealthStatus.DEGRADED, "*** is refused", {"last_error": "AUTH ***"})
    assert await leaking.health() == expected


async def test_a_bad_setting_fails_the_driver_with_a_reason(build: Any) -> None:
    assembly = build()
    with pytest.raises(InvalidArgument, match="unknown setting 'max_kees'"):
        await assembly.lifecycle.initialize({"max_kees": "1"})
    assert assembly.lifecycle.current is State.FAILED
    health = await assembly.lifecycle.health()
    assert health.status is HealthStatus.UNHEALTHY
    assert "unknown setting 'max_kees'" in health.message


async def test_a_failed_driver_can_only_be_stopped(build: Any) -> None:
    assembly = build(driver=Failing(start=BackendUnavailable("gone")))
    await assembly.lifecycle.initialize({})
    with pytest.raises(BackendUnavailable):
        await assembly.lifecycle.start()
    with pytest.raises(IllegalTransition, match="the driver is failed, and becomes initialized"):
        await assembly.lifecycle.initialize({})
    await assembly.lifecycle.stop()
    assert assembly.lifecycle.current is State.STOPPED


async def test_the_text_of_an_unknown_error_is_not_shown(build: Any) -> None:
    assembly = build(driver=Failing(initialize=RuntimeError("redis://user:hunter2@host")))
    with pytest.raises(RuntimeError):
        await assembly.lifecycle.initialize({})
    assert "hunter2" not in (await assembly.lifecycle.health()).message


async def test_other_settings_after_initialize_are_refused(build: Any) -> None:
    assembly = build()
    await assembly.lifecycle.initialize({"max_keys": "5"})
    await assembly.lifecycle.initialize({"max_keys": "5"})
    with pytest.raises(IllegalTransition, match="other settings"):
        await assembly.lifecycle.initialize({"max_keys": "6"})
    assert assembly.lifecycle.current is State.INITIALIZED


async def test_stop_times_out_when_the_driver_hangs(build: Any) -> None:
    driver = Hanging()
    assembly = build(driver=driver)
    await assembly.run()
    driver.release = asyncio.Event()
    with pytest.raises(BackendTimeout, match="did not stop within"):
        await assembly.lifecycle.stop(timedelta(milliseconds=10))
    assert assembly.lifecycle.current is State.FAILED
    driver.release.set()


async def test_cancelling_a_caller_does_not_cancel_its_command(build: Any) -> None:
    driver = Hanging()
    assembly = build(driver=driver)
    await assembly.run()
    driver.release = asyncio.Event()
    stopped = asyncio.Event()
    assembly.lifecycle.observe(lambda state: stopped.set() if state is State.STOPPED else None)
    caller = asyncio.create_task(assembly.lifecycle.stop())
    await asyncio.wait({caller}, timeout=0.01)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    driver.release.set()
    async with asyncio.timeout(30):
        await stopped.wait()


async def test_observers_are_called_with_every_state_in_order(build: Any) -> None:
    assembly = build()
    seen: list[State] = []
    assembly.lifecycle.observe(seen.append)
    await assembly.run()
    await assembly.lifecycle.drain()
    await assembly.lifecycle.stop()
    assert seen == [State.INITIALIZED, State.RUNNING, State.DRAINING, State.STOPPED]


class Stuck(Memstore):
    """Driver that hangs in one command, and signals when it does."""

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
async def test_a_driver_that_hangs_in_its_startup_can_be_stopped(build: Any, command: str) -> None:
    driver = Stuck(command)
    assembly = build(driver=driver)
    running = asyncio.create_task(assembly.run())
    await driver.reached.wait()
    async with asyncio.timeout(30):
        await assembly.lifecycle.stop()
    with pytest.raises(NotServing, match=f"{command} was cancelled by a stop"):
        await running
    assert assembly.lifecycle.current is State.STOPPED


async def test_drain_times_out_when_the_driver_hangs(
    build: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prism.domain.lifecycle._DRAIN_GRACE_S", 0.01)
    assembly = build(driver=Stuck("drain"))
    await assembly.run()
    with pytest.raises(BackendTimeout, match="did not drain within"):
        await assembly.lifecycle.drain(timedelta(milliseconds=10))
    assert assembly.lifecycle.current is State.FAILED
    with pytest.raises(NotServing, match="failed"):
        await assembly.gateway.get("k")


async def test_operations_drained_by_the_driver_are_counted(build: Any) -> None:
    assembly = build(driver=Stuck("nothing"))
    await assembly.run()
    assert await assembly.lifecycle.drain() == DrainReport(completed=2, aborted=1)


async def test_a_health_check_that_raises_is_unhealthy(build: Any) -> None:
    assembly = build(driver=Stuck("nothing"))
    await assembly.run()
    health = await assembly.lifecycle.health()
    assert health.status is HealthStatus.UNHEALTHY
    assert "hunter2" not in health.message


async def _fail_without_a_caller(error: Exception) -> list[dict[str, Any]]:
    """Let a command fail after its caller was cancelled; return the complaints of the loop."""
    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, what: complaints.append(what))
    started, release = asyncio.Event(), asyncio.Event()

    async def command() -> None:
        started.set()
        await release.wait()
        raise error

    commands = CommandQueue()
    caller = asyncio.create_task(commands.run(command()))
    await started.wait()
    caller.cancel()
    await asyncio.wait((caller,))
    release.set()
    # Runs after the other command has ended.
    await commands.run(asyncio.sleep(0))
    gc.collect()
    return complaints


async def test_an_expected_failure_without_a_caller_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert await _fail_without_a_caller(NotServing("cut short")) == []
    assert caplog.records == []


async def test_a_defect_without_a_caller_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert await _fail_without_a_caller(ZeroDivisionError()) == []
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_a_failure_is_raised_to_the_caller() -> None:
    async def fails() -> None:
        raise NotServing("down")

    with pytest.raises(NotServing, match="down"):
        await CommandQueue().run(fails())
