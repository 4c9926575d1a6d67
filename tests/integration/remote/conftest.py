"""Server in this process, around a memstore with slow keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from prism.adapters.client.channel import Channel
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.grpc.admin_guard import AdminGuard
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import LifecycleServicer
from prism.adapters.grpc.services import Services
from prism.adapters.grpc.transports.grpcio import GrpcioServer
from prism.adapters.grpc.transports.h2corn import H2cornServer
from prism.adapters.grpc.transports.options import ServerOptions
from prism.adapters.memstore import DRIVER, Memstore
from prism.domain.admission import Admission
from prism.domain.connection_budget import UnreadReplies
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.turns import Turns
from prism.ports import Entry, Limits

TRANSPORTS: dict[str, Any] = {"h2corn": H2cornServer, "grpcio": GrpcioServer}
OPERATE = "/prism.v1.KeyValueService/Operate"


class Slow(Memstore):
    """Memstore whose get of keys that begin with `slow` waits until released.

    Attributes:
        waiting: number of these that wait.
        keys_read: keys that were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.keys_read: list[str] = []
        self.release = asyncio.Event()

    async def get(self, key: str) -> Entry | None:
        self.keys_read.append(key)
        if key.startswith("slow"):
            self.waiting += 1
            try:
                await self.release.wait()
            finally:
                self.waiting -= 1
        return await super().get(key)


@dataclass
class Served:
    """Server with a client."""

    address: str
    driver: Slow
    admission: Admission
    lifecycle: LifecycleMachine
    services: Services
    server: Any
    channel: Channel
    kv: KeyValueClient

    @property
    def streams(self) -> int:
        """Number of streams opened so far."""
        return self.services.calls[OPERATE].tally.started


@asynccontextmanager
async def serving(
    transport: str, *, operate: bool = True, timeout: timedelta, **where: Any
) -> AsyncIterator[Served]:
    driver = Slow()
    admission = Admission(max_in_flight=20_000, max_per_connection=20_000)
    lifecycle = LifecycleMachine(driver, DRIVER.settings, admission)
    options = ServerOptions(**{"port": 0, **where}, grace=timedelta(seconds=20))
    services = Services(
        KeyValueServicer(Gateway(driver, admission, Limits())),
        LifecycleServicer(lifecycle, AdminGuard(None, required=False)),
        ReadinessMonitor(lifecycle),
        options,
    )
    if not operate:
        services.calls = {path: call for path, call in services.calls.items() if path != OPERATE}
    server = TRANSPORTS[transport](services, options, UnreadReplies(), Turns())
    (address,) = await server.start()
    channel = Channel(address, timeout=timeout, tls=None, admin_token=None)
    try:
        await lifecycle.initialize({})
        await lifecycle.start()
        yield Served(
            address,
            driver,
            admission,
            lifecycle,
            services,
            server,
            channel,
            KeyValueClient(channel),
        )
    finally:
        driver.release.set()
        await channel.close()
        await lifecycle.stop()
        await server.stop()


@pytest.fixture(params=TRANSPORTS)
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    async with AsyncExitStack() as stack:

        async def start(
            *, operate: bool = True, timeout: timedelta = timedelta(seconds=30)
        ) -> Served:
            return await stack.enter_async_context(
                serving(request.param, operate=operate, timeout=timeout)
            )

        yield start
