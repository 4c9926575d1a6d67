"""Group concurrency: a driver whose calls fail, and a server that is paused or killed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Never, TypeAlias

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Driver,
    Entry,
    HealthStatus,
    Outcome,
    PrismError,
    State,
    Version,
)
from prism.testing.suite.backend import Backend, OpenBackend
from prism.testing.suite.calls import gather_or_cancel
from prism.testing.suite.group import Group, group
from prism.testing.suite.histories import RandomWorkload, Recorder, check
from prism.testing.suite.outages import (
    RETURNS_WITHIN,
    EveryOperationInOutages,
    grows,
    wait_until_serving,
    with_server,
)
from prism.testing.suite.timing import wait_until
from prism.testing.suite.wrapper import DriverWrapper

CALLERS = 8
STEPS = 60


@group()
class Degradation(Group):
    """Category 9: when some calls fail, others succeed and no restart is needed."""

    async def test_errors_of_some_operations_do_not_affect_others(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with open_backend(wrap=_FailsForBrokenKeys) as backend:

            async def write(number: int) -> bool:
                name = "broken" if number % 4 == 0 else "sound"
                await backend.kv.set(f"{prefix}{name} {number}", b"%d" % number)
                entry = await backend.kv.get(f"{prefix}{name} {number}")
                return entry is not None and entry.value == b"%d" % number

            outcomes = await asyncio.gather(
                *(write(number) for number in range(80)), return_exceptions=True
            )
            for number, outcome in enumerate(outcomes):
                if number % 4:
                    assert outcome is True
                else:
                    assert isinstance(outcome, BackendUnavailable)

    async def test_a_backend_that_recovers_needs_no_restart(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        switch = _FailureSwitch()
        async with open_backend(wrap=switch.wrap) as backend:
            await backend.kv.set(f"{prefix}key", b"before")
            switch.fails = True
            for _ in range(5):
                with pytest.raises(BackendUnavailable):
                    await backend.kv.get(f"{prefix}key")
            assert await backend.lifecycle.state() is State.RUNNING
            switch.fails = False
            entry = await backend.kv.get(f"{prefix}key")
            assert entry is not None
            assert entry.value == b"before"

    @pytest.mark.parametrize("error", [BackendUnavailable, BackendTimeout])
    @pytest.mark.parametrize("outcome", list(Outcome))
    async def test_a_failed_write_reports_its_outcome(
        self, open_backend: OpenBackend, key: str, error: type[PrismError], outcome: Outcome
    ) -> None:
        switch = _FailureSwitch(error, outcome)
        async with open_backend(wrap=switch.wrap) as backend:
            switch.fails = True
            with pytest.raises(error) as failure:
                await backend.kv.set(key, b"value")
            assert failure.value.outcome is outcome

    async def test_a_history_with_injected_errors_is_linearizable(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        recorder = Recorder()
        keys = [f"{prefix}{number}" for number in range(3)]
        async with open_backend(wrap=_LosesReplies) as backend:

            async def work(name: str) -> None:
                caller = recorder.caller(name, backend.kv)
                workload = RandomWorkload(name, caller, keys, backend.profile)
                for _ in range(STEPS):
                    with suppress(BackendTimeout):
                        await workload.step()
                    await asyncio.sleep(0)

            await gather_or_cancel(*(work(f"caller {number}") for number in range(CALLERS)))
        check(recorder.histories)


class _FailsForBrokenKeys(DriverWrapper):
    """Driver that fails for keys with "broken" in their name."""

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        if "broken" in key:
            raise BackendUnavailable("injected by the suite: this key fails")
        return await self.inner.set(key, value, ttl=ttl)


class _FailureSwitch:
    """Makes the drivers it wraps fail and recover."""

    def __init__(
        self, error: type[PrismError] = BackendUnavailable, outcome: Outcome = Outcome.UNKNOWN
    ) -> None:
        self.fails = False
        self._error = error
        self._outcome = outcome

    def wrap(self, driver: Driver[Never]) -> Driver[Never]:
        return _SwitchedDriver(driver, self)

    def check(self) -> None:
        if self.fails:
            raise self._error("injected by the suite: every key fails", outcome=self._outcome)


class _SwitchedDriver(DriverWrapper):
    def __init__(self, inner: Driver[Never], switch: _FailureSwitch) -> None:
        super().__init__(inner)
        self._switch = switch

    async def get(self, key: str) -> Entry | None:
        self._switch.check()
        return await self.inner.get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._switch.check()
        return await self.inner.set(key, value, ttl=ttl)


class _LosesReplies(DriverWrapper):
    """Driver whose every tenth write times out; half of these writes are applied."""

    _writes = 0

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._writes += 1
        turn = self._writes % 20
        if turn != 10:
            version = await self.inner.set(key, value, ttl=ttl)
        if turn in (0, 10):
            raise BackendTimeout("injected by the suite: the reply is lost")
        return version


_PAUSE_SECONDS = 0.002
# Longer after a failure: every write that failed makes the history harder to check.
_PAUSE_AFTER_FAILURE_SECONDS = 0.02
_BUSY_STEPS = 200


@group(time_limit_seconds=120.0)
class Outages(EveryOperationInOutages):
    """Category 9, continued: outages of the server behind the driver."""

    async def test_a_killed_server_is_unhealthy_but_still_running(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async def has(status: HealthStatus) -> bool:
            return (await backend.lifecycle.health()).status is status

        async with with_server(open_backend) as (backend, server):
            await server.kill()
            try:
                await wait_until(lambda: has(HealthStatus.UNHEALTHY), "the backend is unhealthy")
                assert await backend.lifecycle.state() is State.RUNNING
            finally:
                await server.start()
            await wait_until(lambda: has(HealthStatus.HEALTHY), "the backend is healthy again")

    async def test_acknowledged_writes_survive_a_server_crash(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with with_server(open_backend) as (backend, server):
            for number in range(50):
                await backend.kv.set(f"{prefix}{number}", b"%d" % number)
            await server.kill()
            await server.start()
            await wait_until_serving(backend.kv, prefix)
            for number in range(50):
                entry = await backend.kv.get(f"{prefix}{number}")
                assert entry is not None
                assert entry.value == b"%d" % number

    async def test_a_history_across_a_server_crash_is_linearizable(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        recorder = Recorder()
        async with with_server(open_backend) as (backend, server), asyncio.TaskGroup() as tasks:
            load = _Load(recorder, backend, [f"{prefix}{number}" for number in range(5)])
            for number in range(CALLERS):
                tasks.create_task(load.run(f"caller {number}"))
            try:
                await wait_until(load.has_succeeded(_BUSY_STEPS), "the load runs")
                await server.kill()
                try:
                    await wait_until(load.has_failed(CALLERS), "calls fail", timedelta(seconds=40))
                finally:
                    await server.start()
                await wait_until(load.has_succeeded(1), "calls succeed again", RETURNS_WITHIN)
                await wait_until(load.has_succeeded(_BUSY_STEPS), "the load runs again")
            finally:
                load.ended = True
        await asyncio.to_thread(check, recorder.histories)


Condition: TypeAlias = Callable[[], Awaitable[bool]]


class _Load:
    """Callers that continue when calls fail because the server is away."""

    def __init__(self, recorder: Recorder, backend: Backend, keys: list[str]) -> None:
        self._recorder = recorder
        self._backend = backend
        self._keys = keys
        self._succeeded = 0
        self._failed = 0
        self.ended = False

    async def run(self, name: str) -> None:
        caller = self._recorder.caller(name, self._backend.kv)
        workload = RandomWorkload(name, caller, self._keys, self._backend.profile)
        while not self.ended:
            try:
                await workload.step()
            except (BackendUnavailable, BackendTimeout):
                self._failed += 1
                await asyncio.sleep(_PAUSE_AFTER_FAILURE_SECONDS)
            else:
                self._succeeded += 1
                await asyncio.sleep(_PAUSE_SECONDS)

    def has_succeeded(self, more: int) -> Condition:
        """Return a condition: this many more calls succeeded from now on."""
        return grows(lambda: self._succeeded, more)

    def has_failed(self, more: int) -> Condition:
        """Return a condition: this many more calls failed from now on."""
        return grows(lambda: self._failed, more)
