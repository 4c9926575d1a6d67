"""Category 9, where a server stands behind the driver: it is paused, and killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TypeAlias

import pytest

from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    FullKeyValue,
    HealthStatus,
    State,
)
from prism.testing.suite.backend import Backend, BackendServer, OpenBackend
from prism.testing.suite.group import NOT_REACHABLE, Group, group
from prism.testing.suite.histories import Recorder, check
from prism.testing.suite.timing import wait_until
from prism.testing.suite.workload import RandomWorkload

CALLERS = 8
RETURNS_WITHIN = timedelta(seconds=2)
# Longer than the deadline of any call, whichever way it is made.
_DEADLINE_SECONDS = 40.0
_PAUSE_SECONDS = 0.002
# Each failed write may take effect at any later time: a few are enough.
_PAUSE_AFTER_FAILURE_SECONDS = 0.02
_BUSY_STEPS = 200


@group(time_limit_seconds=120.0)
class Outages(Group):
    """Recovery needs no restart of Prism, and every failure says what it means."""

    async def test_a_paused_server_fails_calls_by_their_deadline_and_resumes(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with _with_server(open_backend) as (backend, server):
            await backend.kv.set(f"{prefix}key", b"before")
            await server.pause()
            try:
                async with asyncio.timeout(_DEADLINE_SECONDS):
                    outcomes = await asyncio.gather(
                        backend.kv.get(f"{prefix}key"),
                        *(backend.kv.set(f"{prefix}{number}", b"v") for number in range(5)),
                        return_exceptions=True,
                    )
            finally:
                await server.resume()
            for outcome in outcomes:
                assert isinstance(outcome, BackendUnavailable | BackendTimeout), outcome
            await _serves(backend.kv, prefix)
            entry = await backend.kv.get(f"{prefix}key")
            assert entry is not None
            assert entry.value == b"before"

    async def test_a_killed_server_makes_the_health_unhealthy_and_not_the_state_failed(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async def has(status: HealthStatus) -> bool:
            return (await backend.lifecycle.health()).status is status

        async with _with_server(open_backend) as (backend, server):
            await server.kill()
            try:
                await wait_until(lambda: has(HealthStatus.UNHEALTHY), "it is unhealthy")
                assert await backend.lifecycle.state() is State.RUNNING
            finally:
                await server.start()
            await wait_until(lambda: has(HealthStatus.HEALTHY), "it is healthy again")

    async def test_what_was_acknowledged_outlives_a_crash_of_the_server(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        async with _with_server(open_backend) as (backend, server):
            for number in range(50):
                await backend.kv.set(f"{prefix}{number}", b"%d" % number)
            await server.kill()
            await server.start()
            await _serves(backend.kv, prefix)
            for number in range(50):
                entry = await backend.kv.get(f"{prefix}{number}")
                assert entry is not None
                assert entry.value == b"%d" % number

    async def test_a_history_across_a_crash_of_the_server_is_linearizable(
        self, open_backend: OpenBackend, prefix: str
    ) -> None:
        recorder = Recorder()
        async with _with_server(open_backend) as (backend, server), asyncio.TaskGroup() as tasks:
            load = _Load(recorder, backend, [f"{prefix}{number}" for number in range(5)])
            for number in range(CALLERS):
                tasks.create_task(load.run(f"caller {number}"))
            try:
                await wait_until(load.has_succeeded(_BUSY_STEPS), "the load is on")
                await server.kill()
                try:
                    await wait_until(load.has_failed(CALLERS), "calls fail", timedelta(seconds=40))
                finally:
                    await server.start()
                # By then a call was answered again, and without a restart of Prism.
                await wait_until(load.has_succeeded(1), "calls succeed again", RETURNS_WITHIN)
                await wait_until(load.has_succeeded(_BUSY_STEPS), "the load is on again")
            finally:
                load.ended = True
        await asyncio.to_thread(check, recorder.histories)


Condition: TypeAlias = Callable[[], Awaitable[bool]]


class _Load:
    """Callers who go on when the server is away, and at nothing else."""

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
        """From now on, so many times."""
        return _more(lambda: self._succeeded, more)

    def has_failed(self, more: int) -> Condition:
        """From now on, so many times."""
        return _more(lambda: self._failed, more)


def _more(count: Callable[[], int], more: int) -> Condition:
    enough = count() + more

    async def reached() -> bool:
        return count() >= enough

    return reached


@asynccontextmanager
async def _with_server(
    open_backend: OpenBackend,
) -> AsyncIterator[tuple[Backend, BackendServer]]:
    async with open_backend() as backend:
        if backend.server is None:
            pytest.skip(f"{NOT_REACHABLE}no server stands behind the driver")
        yield backend, backend.server


async def _serves(kv: FullKeyValue, prefix: str) -> None:
    """Wait until calls succeed, which must be soon."""
    begun = time.monotonic()

    async def answered() -> bool:
        try:
            await kv.set(f"{prefix}again", b"%f" % begun)
        except (BackendUnavailable, BackendTimeout):
            return False
        return True

    await wait_until(answered, "calls succeed again", RETURNS_WITHIN)
