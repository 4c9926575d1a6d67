"""Category 9: graceful degradation, with errors injected around the driver."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Driver,
    Entry,
    Outcome,
    PrismError,
    State,
    Version,
)
from prism.testing.suite.backend import OpenBackend
from prism.testing.suite.group import Group, group
from prism.testing.suite.histories import Recorder, check
from prism.testing.suite.workload import RandomWorkload, gather_or_cancel
from prism.testing.suite.wrapper import DriverWrapper

CALLERS = 8
STEPS = 60


@group()
class Degradation(Group):
    """Some calls fail: the others do not, and nothing needs a restart."""

    async def test_errors_in_some_operations_leave_the_rest_alone(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with open_backend(wrap=_Flaky) as backend:

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

    async def test_a_backend_that_failed_serves_again_without_a_restart(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        flaky = _Switch()
        async with open_backend(wrap=flaky.wrap) as backend:
            await backend.kv.set(f"{prefix}key", b"before")
            flaky.fails = True
            for _ in range(5):
                with pytest.raises(BackendUnavailable):
                    await backend.kv.get(f"{prefix}key")
            assert await backend.lifecycle.state() is State.RUNNING
            flaky.fails = False
            entry = await backend.kv.get(f"{prefix}key")
            assert entry is not None
            assert entry.value == b"before"

    @pytest.mark.parametrize("error", [BackendUnavailable, BackendTimeout])
    @pytest.mark.parametrize("outcome", list(Outcome))
    async def test_a_failed_write_says_what_became_of_it(
        self, open_backend: OpenBackend, key: str, error: type[PrismError], outcome: Outcome
    ) -> None:
        flaky = _Switch(error, outcome)
        async with open_backend(wrap=flaky.wrap) as backend:
            flaky.fails = True
            with pytest.raises(error) as failure:
                await backend.kv.set(key, b"value")
            assert failure.value.outcome is outcome

    async def test_a_history_with_errors_injected_is_linearizable(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        recorder = Recorder()
        keys = [f"{prefix}{number}" for number in range(3)]
        async with open_backend(wrap=_SometimesUnknown) as backend:

            async def work(name: str) -> None:
                caller = recorder.caller(name, backend.kv)
                workload = RandomWorkload(name, caller, keys, backend.profile)
                for _ in range(STEPS):
                    with suppress(BackendTimeout):
                        await workload.step()
                    await asyncio.sleep(0)

            await gather_or_cancel(*(work(f"caller {number}") for number in range(CALLERS)))
        check(recorder.histories)


class _Flaky(DriverWrapper):
    """Fails for keys that say so."""

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        if "broken" in key:
            raise BackendUnavailable("the suite breaks this key")
        return await self.inner.set(key, value, ttl=ttl)


class _Switch:
    """Makes a driver fail and recover."""

    def __init__(
        self, error: type[PrismError] = BackendUnavailable, outcome: Outcome = Outcome.UNKNOWN
    ) -> None:
        self.fails = False
        self._error = error
        self._outcome = outcome

    def wrap(self, driver: Driver[Any]) -> Driver[Any]:
        return _Switched(driver, self)

    def check(self) -> None:
        if self.fails:
            raise self._error("the suite breaks every key", outcome=self._outcome)


class _Switched(DriverWrapper):
    def __init__(self, inner: Driver[Any], switch: _Switch) -> None:
        super().__init__(inner)
        self._switch = switch

    async def get(self, key: str) -> Entry | None:
        self._switch.check()
        return await self.inner.get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._switch.check()
        return await self.inner.set(key, value, ttl=ttl)


class _SometimesUnknown(DriverWrapper):
    """Every tenth write times out: half of these were applied."""

    _writes = 0

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._writes += 1
        turn = self._writes % 20
        if turn != 10:
            version = await self.inner.set(key, value, ttl=ttl)
        if turn in (0, 10):
            raise BackendTimeout("the suite lost the answer")
        return version
