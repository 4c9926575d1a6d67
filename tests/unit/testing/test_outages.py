"""The outage tests pass with a correct server and fail with a broken one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import pytest

from prism.adapters.memstore import DRIVER
from prism.adapters.memstore.driver import Memstore
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
    """No settings."""


@dataclass(slots=True)
class ToyServer:
    """A store that can be paused and killed; calls in flight then get no reply.

    Attributes:
        forgets: whether a kill loses acknowledged writes.
        returns: whether the server starts again after a kill.
        store: the embedded store behind the server.
        is_up: whether the server accepts calls.
        crashes: number of kills so far.
        running: set while the server is not paused.
    """

    forgets: bool = False
    returns: bool = True
    store: Memstore | None = None
    is_up: bool = True
    crashes: int = 0
    running: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self) -> None:
        if self.store is None:
            self.running.set()
            self.store = Memstore()
            await self.store.initialize(MemstoreSettings())

    async def pause(self) -> None:
        self.running.clear()

    async def resume(self) -> None:
        self.running.set()

    async def kill(self) -> None:
        self.is_up = False
        self.crashes += 1
        if self.forgets:
            assert self.store is not None
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
        assert self._server.store is not None
        self.inner = self._server.store

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        pass

    async def health(self) -> Health:
        if self._server.is_up:
            return Health(HealthStatus.HEALTHY, "the toy server answers")
        return Health(HealthStatus.UNHEALTHY, "the toy server does not answer")

    async def get(self, key: str) -> Entry | None:
        return await self._call(self.inner.get(key))

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self._call(self.inner.set(key, value, ttl=ttl))

    async def delete(self, key: str) -> bool:
        return await self._call(self.inner.delete(key))

    async def exists(self, key: str) -> bool:
        return await self._call(self.inner.exists(key))

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await self._call(self.inner.compare_and_set(key, value, expected=expected, ttl=ttl))

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        return await self._call(self.inner.compare_and_delete(key, expected=expected))

    async def _call(self, call: Awaitable[Result]) -> Result:
        server = self._server
        task = asyncio.ensure_future(call) if server.is_up and server.running.is_set() else None
        if task is None:
            assert asyncio.iscoroutine(call)
            call.close()
        if not server.is_up:
            raise BackendUnavailable("refused", outcome=Outcome.NOT_APPLIED)
        if task is None:
            # The server is paused: the call times out.
            await asyncio.sleep(0.05)
            raise BackendTimeout("no answer")
        crashes = server.crashes
        try:
            result = await task
        except NotServing:
            # The server was killed before the call had an effect.
            raise BackendUnavailable("the connection broke") from None
        # The time of the reply, in which a kill loses it.
        await asyncio.sleep(0.002)
        if server.crashes != crashes:
            raise BackendUnavailable("the connection broke")
        return result


def spec(server: ToyServer) -> DriverSpec:
    def factory() -> Driver[Any]:
        return ToyDriver(server)

    return DriverSpec("toy", "1", "A toy.", ToySettings, factory, CAPABILITIES)


def target(server: ToyServer) -> OpenBackend:
    return in_process(spec(server), backend_server=server)


class TestInProcess(Outages):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        return target(ToyServer())


class TestOverGrpc(Outages):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        server = ToyServer()
        return over_grpc(spec(server), backend_server=server)


async def test_a_server_that_loses_acknowledged_writes_is_caught() -> None:
    with pytest.raises(AssertionError):
        await Outages().test_acknowledged_writes_survive_a_server_crash(
            target(ToyServer(forgets=True)), "prefix/"
        )


async def test_a_crash_that_makes_the_history_not_linearizable_is_caught() -> None:
    with pytest.raises(AssertionError, match="not linearizable"):
        await Outages().test_a_history_across_a_server_crash_is_linearizable(
            target(ToyServer(forgets=True)), "prefix/"
        )


async def test_a_driver_that_does_not_come_back_is_caught() -> None:
    with pytest.raises(AssertionError, match="calls succeed again"):
        await Outages().test_acknowledged_writes_survive_a_server_crash(
            target(ToyServer(returns=False)), "prefix/"
        )
