"""A store in this process that can be paused and killed like a server, and its driver."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar
from urllib.parse import urlsplit

from prism.adapters.memstore import DRIVER
from prism.adapters.memstore.driver import Memstore
from prism.adapters.memstore.settings import MemstoreSettings
from prism.ports import (
    OPERATIONS,
    STOP_TIMEOUT,
    BackendTimeout,
    BackendUnavailable,
    Driver,
    DriverSpec,
    Event,
    Health,
    HealthStatus,
    NotServing,
    Outcome,
    WatchEnded,
)
from prism.testing import DriverWrapper, OpenBackend
from prism.testing.levels import in_process

Result = TypeVar("Result")

URL = "toy://127.0.0.1:1"

_DEADLINE_SECONDS = 0.05
# The time of the reply, in which a kill loses it.
_REPLY_SECONDS = 0.002


@dataclass(frozen=True, slots=True)
class ToySettings:
    """Settings of the driver.

    Attributes:
        url: address of the server.
    """

    url: str = URL


@dataclass(slots=True)
class ToyServer:
    """A store that can be paused and killed; calls in flight then get no reply.

    Attributes:
        forgets: whether a kill loses acknowledged writes.
        returns: whether the server starts again after a kill.
        store: the embedded store behind the server.
        is_up: whether the server accepts calls.
        crashes: number of kills so far.
        crashed: set by the next kill.
        running: set while the server is not paused.
    """

    forgets: bool = False
    returns: bool = True
    store: Memstore | None = None
    is_up: bool = True
    crashes: int = 0
    crashed: asyncio.Event = field(default_factory=asyncio.Event)
    running: asyncio.Event = field(default_factory=asyncio.Event)

    async def open(self) -> Memstore:
        """Return the store; only the first call creates it."""
        if self.store is None:
            self.running.set()
            self.store = Memstore()
            await self.store.initialize(MemstoreSettings())
        return self.store

    async def pause(self) -> None:
        self.running.clear()

    async def resume(self) -> None:
        self.running.set()

    async def kill(self) -> None:
        self.is_up = False
        self.crashes += 1
        self.crashed.set()
        self.crashed = asyncio.Event()
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
        self.server = server

    async def initialize(self, settings: ToySettings) -> None:
        if not self.server.is_up:
            raise BackendUnavailable(f"cannot reach the server at {urlsplit(settings.url).port}")
        self.inner = await self.server.open()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        self.inner = DRIVER.factory()  # type: ignore[assignment]

    async def health(self) -> Health:
        if self.server.is_up:
            return Health(HealthStatus.HEALTHY, "the toy server answers")
        return Health(HealthStatus.UNHEALTHY, "the toy server does not answer")

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        await self._check_reachable()
        crashed = self.server.crashed
        async with self.inner.watch(prefix) as events:
            yield _until_crash(events, crashed)

    async def _check_reachable(self) -> None:
        if not self.server.is_up:
            raise BackendUnavailable("refused", outcome=Outcome.NOT_APPLIED)
        if not self.server.running.is_set():
            await asyncio.sleep(_DEADLINE_SECONDS)
            raise BackendTimeout("no answer")

    async def ask(self, call: Callable[[], Awaitable[Result]]) -> Result:
        """Make a call, unless the server is away, and return the reply."""
        await self._check_reachable()
        crashes = self.server.crashes
        try:
            result = await call()
        except NotServing:
            # The server was killed before the call had an effect.
            raise BackendUnavailable("the connection broke") from None
        await asyncio.sleep(_REPLY_SECONDS)
        if self.server.crashes != crashes:
            raise BackendUnavailable("the connection broke")
        return result


async def _until_crash(
    events: AsyncIterator[Event], crashed: asyncio.Event
) -> AsyncIterator[Event]:
    crash = asyncio.create_task(crashed.wait())
    try:
        while True:
            event = asyncio.ensure_future(anext(events))
            await asyncio.wait([crash, event], return_when=asyncio.FIRST_COMPLETED)
            if crash.done():
                event.cancel()
                raise WatchEnded("the connection broke: events may be missing")
            yield event.result()
    finally:
        crash.cancel()


def _asking(name: str) -> Callable[..., Awaitable[Any]]:
    async def ask(self: ToyDriver, *args: Any, **kwargs: Any) -> Any:
        return await self.ask(lambda: getattr(self.inner, name)(*args, **kwargs))

    return ask


for _name in OPERATIONS:
    if _name != "watch":
        setattr(ToyDriver, _name, _asking(_name))


def spec(server: ToyServer) -> DriverSpec:
    """Return the driver of a server."""

    def factory() -> Driver[Any]:
        return ToyDriver(server)

    return DriverSpec("toy", "1", "A toy.", ToySettings, factory, DRIVER.capabilities)


def target(server: ToyServer) -> OpenBackend:
    """Return the target of level 1 on a server."""
    return in_process(spec(server), {"url": URL}, backend_server=server)
