"""The outage tests: a server that keeps its word passes them, and a broken one does not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from prism.adapters.memstore import DRIVER
from prism.adapters.memstore.settings import MemstoreSettings
from prism.ports import (
    STOP_TIMEOUT,
    BackendTimeout,
    BackendUnavailable,
    Capability,
    Declaration,
    Driver,
    DriverSpec,
    Entry,
    Health,
    HealthStatus,
    NotServing,
    Outcome,
    Version,
)
from prism.testing import DriverWrapper, OpenBackend
from prism.testing.levels import in_process, over_grpc
from prism.testing.suite.failures import Outages

Result = TypeVar("Result")

CAPABILITIES: Mapping[Capability, Declaration] = DRIVER.capabilities


@dataclass(frozen=True, slots=True)
class ToySettings:
    """There is nothing to set."""


@dataclass(slots=True)
class ToyServer:
    """A store that can be taken away; calls in flight at that moment have no answer.

    Attributes:
        forgets: it loses what it had acknowledged when it is killed.
        returns: it comes back.
    """

    forgets: bool = False
    returns: bool = True
    store: Any = None
    is_up: bool = True
    crashes: int = 0
    running: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self) -> None:
        if self.store is None:
            self.running.set()
            self.store = DRIVER.factory()
            await self.store.initialize(MemstoreSettings())

    async def pause(self) -> None:
        self.running.clear()

    async def resume(self) -> None:
        self.running.set()

    async def kill(self) -> None:
        self.is_up = False
        self.crashes += 1
        if self.forgets:
            await self.store.stop()
            await self.store.initialize(MemstoreSettings())

    async def start(self) -> None:
        self.is_up = self.returns


class ToyDriver(DriverWrapper):
    """A client of the toy server."""

    def __init__(self, server: ToyServer) -> None:
        super().__init__(DRIVER.factory())
        self._server = server

    async def initialize(self, settings: ToySettings) -> None:
        await self._server.open()
        self.inner = self._server.store

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        pass

    async def health(self) -> Health:
        if self._server.is_up:
            return Health(HealthStatus.HEALTHY, "the toy answers")
        return Health(HealthStatus.UNHEALTHY, "the toy is away")

    async def get(self, key: str) -> Entry | None:
        return await self._ask(self.inner.get(key))

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._ask(self.inner.set(key, value, ttl=ttl))

    async def delete(self, key: str) -> bool:
        return await self._ask(self.inner.delete(key))

    async def exists(self, key: str) -> bool:
        return await self._ask(self.inner.exists(key))

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await self._ask(self.inner.compare_and_set(key, value, expected=expected, ttl=ttl))

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        return await self._ask(self.inner.compare_and_delete(key, expected=expected))

    async def _ask(self, call: Awaitable[Result]) -> Result:
        server = self._server
        task = asyncio.ensure_future(call) if server.is_up and server.running.is_set() else None
        if task is None:
            assert asyncio.iscoroutine(call)
            call.close()
        if not server.is_up:
            raise BackendUnavailable("refused", outcome=Outcome.NOT_APPLIED)
        if task is None:
            # Its caller knows no more than that no answer came.
            await asyncio.sleep(0.05)
            raise BackendTimeout("no answer")
        crashes = server.crashes
        try:
            result = await task
        except NotServing:
            # It was on its way there.
            raise BackendUnavailable("the connection broke") from None
        # On its way back.
        await asyncio.sleep(0.002)
        if server.crashes != crashes:
            raise BackendUnavailable("the connection broke")
        return result


def spec(server: ToyServer) -> DriverSpec:
    def factory() -> Driver[Any]:
        return ToyDriver(server)

    return DriverSpec("toy", "1", "A toy.", ToySettings, factory, CAPABILITIES)


def opened(server: ToyServer) -> OpenBackend:
    return in_process(spec(server), backend_server=server)


class TestInProcess(Outages):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        return opened(ToyServer())


class TestOverGrpc(Outages):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        server = ToyServer()
        return over_grpc(spec(server), backend_server=server)


async def test_a_server_that_forgets_what_it_acknowledged_is_caught() -> None:
    with pytest.raises(AssertionError):
        await Outages().test_acknowledged_writes_survive_a_server_crash(
            opened(ToyServer(forgets=True)), "prefix/"
        )


async def test_a_crash_that_no_history_explains_is_caught() -> None:
    with pytest.raises(AssertionError, match="not linearizable"):
        await Outages().test_a_history_across_a_server_crash_is_linearizable(
            opened(ToyServer(forgets=True)), "prefix/"
        )


async def test_a_driver_that_does_not_come_back_is_caught() -> None:
    with pytest.raises(AssertionError, match="calls succeed again"):
        await Outages().test_acknowledged_writes_survive_a_server_crash(
            opened(ToyServer(returns=False)), "prefix/"
        )
