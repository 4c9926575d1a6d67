"""Group Lifecycle: two commands at once never interleave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest

from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    DrainReport,
    Driver,
    PrismError,
    State,
)
from prism.testing.suite.backend import OpenBackend
from prism.testing.suite.group import NOT_REACHABLE, Group, group
from prism.testing.suite.states import command
from prism.testing.suite.timing import wait_until
from prism.testing.suite.wrapper import DriverWrapper

COMMANDS = ("initialize", "start", "drain", "stop")


@group()
class Ordering(Group):
    """What the driver sees of commands that are given at once."""

    async def test_commands_at_once_never_interleave(self, open_backend: OpenBackend) -> None:
        record = Record()
        async with open_backend(wrap=record.wrap, start=False) as backend:
            record.clear()
            given = [name for name in COMMANDS for _ in range(2)]
            outcomes = await asyncio.gather(
                *(command(backend, name) for name in given), return_exceptions=True
            )
            defects = [
                outcome
                for outcome in outcomes
                if isinstance(outcome, BaseException) and not isinstance(outcome, PrismError)
            ]
            assert defects == []
            assert record.most_at_once == 1

    async def test_a_repeated_command_reaches_the_driver_once(
        self, open_backend: OpenBackend
    ) -> None:
        record = Record()
        async with open_backend(wrap=record.wrap, start=False) as backend:
            before = await backend.lifecycle.state()
            for name in COMMANDS[:3]:
                if before is State.RUNNING and name != "drain":
                    continue
                await asyncio.gather(*(command(backend, name) for _ in range(3)))
            assert sorted(record.names) == sorted(set(record.names))

    async def test_a_command_goes_on_when_its_caller_goes_away(
        self, open_backend: OpenBackend
    ) -> None:
        record = Record()
        async with open_backend(wrap=record.wrap, start=False) as backend:
            if await backend.lifecycle.state() is not State.CREATED:
                pytest.skip(f"{NOT_REACHABLE}it is initialized before the test gets to it")
            record.hold()
            caller = asyncio.create_task(command(backend, "initialize"))
            await wait_until(record.is_inside, "the command reaches the driver")
            caller.cancel()
            await asyncio.gather(caller, return_exceptions=True)
            record.release()

            async def initialized() -> bool:
                return await backend.lifecycle.state() is State.INITIALIZED

            await wait_until(initialized, "the command takes effect")

    async def test_a_health_check_does_not_wait_for_a_command(
        self, open_backend: OpenBackend
    ) -> None:
        record = Record()
        async with open_backend(wrap=record.wrap) as backend:
            record.hold()
            drain = asyncio.create_task(command(backend, "drain"))
            await wait_until(record.is_inside, "the command reaches the driver")
            async with asyncio.timeout(5):
                await backend.lifecycle.health()
                await backend.lifecycle.state()
            assert not drain.done()
            record.release()
            await drain


class Record:
    """The commands as the driver gets them, each of which takes a few turns of the loop."""

    def __init__(self) -> None:
        self._released = asyncio.Event()
        self._released.set()
        self.clear()

    def clear(self) -> None:
        self.names: list[str] = []
        self.inside = 0
        self.most_at_once = 0

    def wrap(self, driver: Driver[Any]) -> Driver[Any]:
        return _Recorded(driver, self)

    def hold(self) -> None:
        self._released.clear()

    def release(self) -> None:
        self._released.set()

    async def is_inside(self) -> bool:
        return self.inside > 0

    @asynccontextmanager
    async def of(self, name: str) -> AsyncIterator[None]:
        self.names.append(name)
        self.inside += 1
        self.most_at_once = max(self.most_at_once, self.inside)
        try:
            for _ in range(5):
                await asyncio.sleep(0)
            await self._released.wait()
            yield
        finally:
            self.inside -= 1


class _Recorded(DriverWrapper):
    def __init__(self, inner: Driver[Any], record: Record) -> None:
        super().__init__(inner)
        self._record = record

    async def initialize(self, settings: Any) -> None:
        async with self._record.of("initialize"):
            await self.inner.initialize(settings)

    async def start(self) -> None:
        async with self._record.of("start"):
            await self.inner.start()

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        async with self._record.of("drain"):
            return await self.inner.drain(timeout)

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        async with self._record.of("stop"):
            await self.inner.stop(timeout)
