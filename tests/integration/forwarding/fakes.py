"""Proxy and patterns in one process, connected by real servers on Unix sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from prism.adapters.client.channel import Channel
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.grpc.admin_guard import AdminGuard
from prism.adapters.grpc.calls import CallObserver
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.forwarding import ForwardingServicer, forwarded_call
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import LifecycleServicer
from prism.adapters.grpc.services import Services
from prism.adapters.grpc.transports.grpcio import GrpcioServer
from prism.adapters.grpc.transports.h2corn import H2cornServer
from prism.adapters.grpc.transports.options import ServerOptions
from prism.adapters.memstore import DRIVER, Memstore
from prism.adapters.remote import open_pattern
from prism.domain.admission import Admission
from prism.domain.connection_budget import UnreadReplies
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.supervisor import NoSettings
from prism.domain.patterns.values import PatternSpec
from prism.domain.readiness import ReadinessMonitor
from prism.domain.turns import Turns
from prism.ports import (
    DRAIN_TIMEOUT,
    DrainReport,
    Driver,
    Entry,
    Health,
    HealthStatus,
    Limits,
    NotServing,
    Page,
    PreconditionFailed,
    Version,
)

TRANSPORTS: dict[str, Any] = {"h2corn": H2cornServer, "grpcio": GrpcioServer}
OPERATE = "/prism.v1.KeyValueService/Operate"


class Held(Memstore):
    """Memstore whose get, set and scan of keys that begin with `held` wait until released."""

    def __init__(self) -> None:
        super().__init__()
        self.entered: list[str] = []
        self.cancelled: list[str] = []
        self.release = asyncio.Event()

    async def get(self, key: str) -> Entry | None:
        await self._hold(key)
        return await super().get(key)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        await self._hold(key)
        return await super().set(key, value, ttl=ttl)

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        await self._hold(prefix)
        return await super().scan(prefix, page_size=page_size, page_token=page_token, values=values)

    async def _hold(self, key: str) -> None:
        if key.startswith("held"):
            self.entered.append(key)
            try:
                await self.release.wait()
            except asyncio.CancelledError:
                self.cancelled.append(key)
                raise


@dataclass
class Seen:
    """Observer of the calls and operations that reach a pattern."""

    paths: list[str] = field(default_factory=list)
    timeouts: list[float | None] = field(default_factory=list)
    traces: list[tuple[str | None, str | None]] = field(default_factory=list)

    def begin(self, path: str, context: CallContext) -> object:
        self.paths.append(path.rpartition("/")[2])
        self.timeouts.append(context.timeout_s)
        self.traces.append((context.metadata("traceparent"), context.metadata("tracestate")))
        return None

    def resume(self, handle: object) -> None: ...

    def follows(self, handle: object) -> bool:
        return False

    def end(self, handle: object, status: object) -> None: ...


class FakePattern:
    """Pattern whose processes are servers in this process.

    Attributes:
        gateway: the proxy's gateway to it; None: it does not serve.
        driver: driver of its current process.
        seen: calls and operations that reached it.
    """

    def __init__(self, name: str, transport: str, folder: Path, stack: AsyncExitStack) -> None:
        self.spec = PatternSpec(name, "memstore")
        self.gateway: Gateway | None = None
        self.admission: Admission
        self.driver: Any
        self.lifecycle: LifecycleMachine
        self.server: Any
        self.seen = Seen()
        self._transport = transport
        self._folder = folder
        self._stack = stack
        self._processes = 0
        self._serves = asyncio.Event()

    async def launch(
        self,
        make: Callable[[], Driver[Any]] = Held,
        *,
        limits: Limits | None = None,
    ) -> None:
        """Start another process, which serves calls from now on.

        Args:
            limits: limits of that process.
        """
        self._processes += 1
        socket = self._folder / f"{self.spec.name}-{self._processes}.sock"
        self.driver = make()
        theirs = Admission(max_in_flight=1000, max_per_connection=1000)
        self.lifecycle = LifecycleMachine(self.driver, DRIVER.settings, theirs)
        _, self.server = _server(
            self._transport,
            KeyValueServicer(Gateway(self.driver, theirs, limits or Limits()), observer=self.seen),
            self.lifecycle,
            ServerOptions(socket=socket, grace=timedelta()),
            self.seen,
        )
        (address,) = await self.server.start()
        self._stack.push_async_callback(self.server.stop)
        await self.lifecycle.initialize({})
        await self.lifecycle.start()
        self._stack.push_async_callback(self.lifecycle.stop)
        remote = await open_pattern(self.spec.name, address, forwarded=forwarded_call.get)
        self._stack.push_async_callback(remote.stop)
        # After its first answer, operations are relayed to it as messages.
        await remote.exists("k")
        self.admission = Admission(max_in_flight=100, max_per_connection=100)
        self.admission.open()
        self.gateway = Gateway(remote, self.admission, Limits())
        self._serves.set()
        if isinstance(self.driver, Held):
            self._stack.callback(self.driver.release.set)

    def restarting(self) -> None:
        """Stop serving until the next launch."""
        self.gateway = None
        self._serves.clear()

    async def wait_for_gateway(self) -> Gateway:
        await self._serves.wait()
        assert self.gateway is not None
        return self.gateway

    def refusal(self) -> NotServing:
        return NotServing(f"the pattern {self.spec.name!r} is starting")


class FakePatterns:
    """Patterns by name; the first is the default."""

    def __init__(self) -> None:
        self.by_name: dict[str, FakePattern] = {}

    def find(self, name: str) -> FakePattern:
        found = self.by_name.get(name or next(iter(self.by_name)))
        if found is None:
            raise PreconditionFailed(f"there is no pattern {name!r}", reason="UNKNOWN_PATTERN")
        return found

    async def initialize(self, settings: NoSettings) -> None: ...

    async def start(self) -> None: ...

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        reports = []
        for pattern in self.by_name.values():
            pattern.admission.close("draining")
            reports.append(await pattern.admission.drain(timeout))
        return DrainReport(completed=sum(report.completed for report in reports))

    async def stop(self, timeout: timedelta = DRAIN_TIMEOUT) -> None: ...

    async def health(self) -> Health:
        return Health(HealthStatus.HEALTHY, "all patterns serve")


class Proxy:
    """Proxy with the patterns `a`, which is the default, and `b`."""

    def __init__(self, transport: str, folder: Path, stack: AsyncExitStack) -> None:
        self._transport = transport
        self._stack = stack
        self.patterns = FakePatterns()
        for name in ("a", "b"):
            self.patterns.by_name[name] = FakePattern(name, transport, folder, stack)
        self.a, self.b = self.patterns.by_name.values()
        self.admission = Admission(max_in_flight=1000, max_per_connection=1000)
        driver: Any = self.patterns  # has what a lifecycle needs of a driver
        self.lifecycle = LifecycleMachine(driver, NoSettings, self.admission)
        self.services: Services
        self.servicer: ForwardingServicer
        self.address = ""

    async def serve(self, *, observer: CallObserver | None = None, **options: Any) -> None:
        """Start serving; tests launch the patterns."""
        self.servicer = ForwardingServicer(
            self.patterns, self.admission, observer=observer, **options
        )
        self.services, server = _server(
            self._transport, self.servicer, self.lifecycle, ServerOptions(port=0), observer
        )
        (self.address,) = await server.start()
        self._stack.push_async_callback(server.stop)
        await self.lifecycle.initialize({})
        await self.lifecycle.start()
        self._stack.push_async_callback(self.lifecycle.stop)

    def client(
        self, *, timeout: timedelta = timedelta(seconds=60), address: str = "", **options: Any
    ) -> KeyValueClient:
        """Return a client with a connection of its own; address: by default the proxy's."""
        channel = Channel(
            address or self.address, timeout=timeout, tls=None, admin_token=None, **options
        )
        self._stack.push_async_callback(channel.close)
        return KeyValueClient(channel)


def _server(
    transport: str,
    servicer: KeyValueServicer | ForwardingServicer,
    lifecycle: LifecycleMachine,
    options: ServerOptions,
    observer: CallObserver | None,
) -> tuple[Services, Any]:
    services = Services(
        servicer,
        LifecycleServicer(lifecycle, AdminGuard(None, required=False)),
        ReadinessMonitor(lifecycle),
        options,
        observer,
    )
    return services, TRANSPORTS[transport](services, options, UnreadReplies(), Turns())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until the condition holds, at most 30 s."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.001)
