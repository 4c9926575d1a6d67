"""gRPC server around a driver that the test chooses, and raw calls to it."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message

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


class Slow(Memstore):
    """Memstore whose get of the key `slow` waits until released, and counts cancellations."""

    def __init__(self) -> None:
        super().__init__()
        self.entered = asyncio.Event()
        self.release = asyncio.Event()
        self.cancelled_at: list[float] = []

    async def get(self, key: str) -> Entry | None:
        if key == "slow":
            self.entered.set()
            try:
                async with asyncio.timeout(30):
                    await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled_at.append(asyncio.get_running_loop().time())
                raise
        if key == "broken":
            raise RuntimeError("the password is hunter2")
        return await super().get(key)


@dataclass
class Served:
    address: str
    driver: Slow
    admission: Admission
    lifecycle: LifecycleMachine
    readiness: ReadinessMonitor
    unread: UnreadReplies
    server: Any

    async def call(
        self,
        method: str,
        request: Message | bytes,
        *,
        timeout: float | None = 5,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: tuple[tuple[str, str], ...] = (),
    ) -> bytes:
        """Make one call over a connection of its own."""
        payload = request if isinstance(request, bytes) else request.SerializeToString()
        # A separate pool, because grpc shares one connection among channels.
        options = [("grpc.use_local_subchannel_pool", 1)]
        channel: Any = (
            grpc.aio.insecure_channel(self.address, options)
            if credentials is None
            else grpc.aio.secure_channel(self.address, credentials, options)
        )
        async with channel:
            reply: bytes = await channel.unary_unary(f"/prism.v1.{method}")(
                payload, timeout=timeout, metadata=metadata
            )
            return reply


TRANSPORTS: dict[str, Any] = {"h2corn": H2cornServer, "grpcio": GrpcioServer}

Serve = Callable[..., Awaitable[Served]]


@asynccontextmanager
async def serving(
    transport: str,
    options: ServerOptions,
    *,
    max_in_flight: int = 100,
    max_per_connection: int = 100,
) -> AsyncIterator[Served]:
    driver = Slow()
    admission = Admission(max_in_flight=max_in_flight, max_per_connection=max_per_connection)
    lifecycle = LifecycleMachine(driver, DRIVER.settings, admission)
    readiness = ReadinessMonitor(lifecycle)
    guard = AdminGuard(options.admin_token, required=options.is_remote)
    services = Services(
        KeyValueServicer(Gateway(driver, admission, Limits())),
        LifecycleServicer(lifecycle, guard),
        readiness,
        options,
    )
    unread = UnreadReplies()
    server = TRANSPORTS[transport](services, options, unread, Turns())
    (address,) = await server.start()
    try:
        await lifecycle.initialize({})
        await lifecycle.start()
        yield Served(address, driver, admission, lifecycle, readiness, unread, server)
    finally:
        driver.release.set()
        await lifecycle.stop()
        await server.stop()


@pytest.fixture(params=TRANSPORTS)
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def start(bounds: dict[str, int] | None = None, **options: Any) -> Served:
            chosen = ServerOptions(**{"port": 0, "grace": timedelta(), **options})
            return await stack.enter_async_context(serving(request.param, chosen, **(bounds or {})))

        yield start


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with certificates `ca`, `server` and `client` and their keys, as PEM files."""
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-keyout", "ca.key", "-out", "ca.pem", "-days", "2", "-subj", "/CN=test ca"),
    )
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    for name in ("server", "client"):
        openssl(
            *("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}"),
        )
        openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-out", f"{name}.pem", "-days", "2", "-extfile", "names"),
        )
    return folder
