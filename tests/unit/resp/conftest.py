"""Port for Redis clients around a driver that the test chooses, and raw connections to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hiredis import Reader

from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.memstore import DRIVER, Memstore
from prism.adapters.resp.door import Door, DoorOptions
from prism.adapters.resp.listener import ListenerOptions, RespServer
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.ports import Capability, Declaration, Entry, Limits, Version

TIMEOUT_S = 20.0


DATABASES = ("", "other")
"""Names of the backends that each port has; the second is database 1."""


class Slow(Memstore):
    """Memstore on which keys that begin with `slow` wait until released.

    Attributes:
        waiting: number of operations that wait.
        log: keys of the operations in the order of their ends.
    """

    def __init__(self) -> None:
        super().__init__()
        self.release = asyncio.Event()
        self.waiting = 0
        self.log: list[str] = []

    def lacks(self, capabilities: Mapping[Capability, Declaration]) -> None:
        """Declare only these capabilities from now on."""
        self._profile = replace(self._profile, capabilities=capabilities)

    async def get(self, key: str) -> Entry | None:
        await self._wait(key)
        return await super().get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        await self._wait(key)
        return await super().set(key, value, ttl=ttl)

    async def _wait(self, key: str) -> None:
        if key.startswith("slow"):
            self.waiting += 1
            try:
                await self.release.wait()
            finally:
                self.waiting -= 1
        if key == "broken":
            raise RuntimeError("the password is hunter2")
        self.log.append(key)


class Connection:
    """Raw connection: sends bytes, and returns replies as hiredis parses them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer: Any = writer
        self._replies = Reader(notEnoughData=Ellipsis)

    def send(self, *commands: str | bytes) -> None:
        """Send commands, each as one line of words."""
        for command in commands:
            words = command.split() if isinstance(command, bytes) else command.encode().split()
            self.writer.write(encode(*words))

    async def receive(self, count: int = 1) -> list[Any]:
        """Return the next replies."""
        replies: list[Any] = []
        async with asyncio.timeout(TIMEOUT_S):
            while len(replies) < count:
                reply = self._replies.gets()
                if reply is not Ellipsis:
                    replies.append(reply)
                    continue
                data = await self.reader.read(1 << 16)
                assert data, f"closed after {replies}"
                self._replies.feed(data)
        return replies

    async def ask(self, *commands: str | bytes) -> list[Any]:
        """Send commands together, and return their replies."""
        self.send(*commands)
        return await self.receive(len(commands))

    async def is_closed(self) -> bool:
        """Wait until the server closes the connection."""
        async with asyncio.timeout(TIMEOUT_S):
            try:
                return not await self.reader.read()
            except ConnectionError:
                return True

    def close(self) -> None:
        self.writer.close()


def encode(*arguments: bytes) -> bytes:
    parts = [b"$%d\r\n%b\r\n" % (len(each), each) for each in arguments]
    return b"*%d\r\n%b" % (len(arguments), b"".join(parts))


@dataclass
class Served:
    driver: Slow
    admission: Admission
    lifecycle: LifecycleMachine
    door: Door
    server: RespServer
    stack: AsyncExitStack

    async def connect(self) -> Connection:
        host, _, port = self.server.address.rpartition(":")
        connection = Connection(*await asyncio.open_connection(host, int(port)))
        self.stack.callback(connection.close)
        return connection

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds."""
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():
                await asyncio.sleep(0.005)


Serve = Callable[..., Awaitable[Served]]


@asynccontextmanager
async def serving(
    options: DoorOptions, max_connections: int, max_in_flight: int
) -> AsyncIterator[Served]:
    driver = Slow()
    admission = Admission(max_in_flight=max_in_flight, max_per_connection=100)
    lifecycle = LifecycleMachine(driver, DRIVER.settings, admission)
    other = Memstore()
    databases = {
        name: Gateway(each, admission, Limits())
        for name, each in zip(DATABASES, (driver, other), strict=True)
    }
    door = Door(databases, admission, options, RequestLog())
    listener = ListenerOptions(port=0, max_connections=max_connections, grace=timedelta(seconds=1))
    server = RespServer(door, listener)
    await server.start()
    async with AsyncExitStack() as stack:
        try:
            await other.initialize(DRIVER.settings())
            await other.start()
            await lifecycle.initialize({})
            await lifecycle.start()
            yield Served(driver, admission, lifecycle, door, server, stack)
        finally:
            driver.release.set()
            await lifecycle.stop()
            await server.stop()
            await other.stop()


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(
            *, max_connections: int = 2000, max_in_flight: int = 1000, **options: Any
        ) -> Served:
            return await stack.enter_async_context(
                serving(DoorOptions(**options), max_connections, max_in_flight)
            )

        yield start


@pytest.fixture
async def served(serve: Serve) -> Served:
    return await serve()


@pytest.fixture
async def connection(served: Served) -> Connection:
    return await served.connect()
