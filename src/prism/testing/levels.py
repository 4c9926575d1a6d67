"""Three levels at which the suite reaches a driver: in process, over gRPC, through a proxy.

The first two levels use the container that builds a server, and the third launches the real
command, so what is tested is what runs in production. A driver is named by its `DriverSpec`
or by its entry point.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest
from dependency_injector import providers

from prism.adapters.client import Channel, KeyValueClient, LifecycleClient
from prism.bootstrap import discovery
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.proxy.settings import ProxySettings
from prism.bootstrap.settings import ServeSettings, Transport
from prism.domain.lifecycle import LifecycleMachine
from prism.ports import DriverSpec
from prism.testing.proxies import PATTERN, ProxyPool, installed_driver, proxy_command
from prism.testing.suite import (
    NOT_REACHABLE,
    Backend,
    BackendServer,
    Level,
    OpenBackend,
    Wrap,
)

SERVER = ServeSettings(grpc_port=0, metrics=False, reflection=False)
"""Settings of a server on a free loopback port, with gRPC only."""

PROXY = ProxySettings(
    grpc_port=0, metrics=False, reflection=False, drain_timeout=timedelta(seconds=1)
)
"""Settings of a proxy on a free loopback port; its short drain keeps failed tests short."""

_STOP_TIMEOUT = timedelta(seconds=5)

# For each call; long, so that no test fails because the machine is busy.
_CALL_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Target:
    """Factory of backends with the names that a report shows for it.

    Attributes:
        backend: name of the driver, or the name given instead.
        level: name of the level.
        open_backend: opens one backend.
    """

    backend: str
    level: str
    open_backend: OpenBackend

    def __call__(
        self, *, wrap: Wrap | None = None, start: bool = True
    ) -> AbstractAsyncContextManager[Backend]:
        """Open a backend, as described at `OpenBackend`."""
        return self.open_backend(wrap=wrap, start=start)


def in_process(
    driver: DriverSpec | str,
    settings: Mapping[str, str] | None = None,
    *,
    server: ServeSettings = SERVER,
    backend_server: BackendServer | None = None,
    name: str | None = None,
) -> OpenBackend:
    """Return the target of level 1: the gateway and the state machine around the driver.

    Args:
        driver: driver to test.
        settings: settings of the driver, as text by name.
        server: server settings, of which the limits apply.
        backend_server: server behind the driver, if tests may pause and kill it.
        name: name in reports instead of the driver's.
    """
    texts = dict(settings or {})

    @asynccontextmanager
    async def open_backend(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AsyncIterator[Backend]:
        container = _container(driver, texts, server, wrap)
        gateway = container.gateway()
        async with _stopped_at_end(container.lifecycle(), start, texts) as lifecycle:
            yield Backend(
                gateway,
                lifecycle,
                Level.IN_PROCESS,
                texts,
                lambda: gateway.profile,
                backend_server,
                max_in_flight=server.max_in_flight,
            )

    return Target(name or _name(driver), "in process", open_backend)


def over_grpc(
    driver: DriverSpec | str,
    settings: Mapping[str, str] | None = None,
    *,
    transport: Transport = "h2corn",
    server: ServeSettings = SERVER,
    backend_server: BackendServer | None = None,
    name: str | None = None,
    token: str | None = None,
) -> OpenBackend:
    """Return the target of level 2: a gRPC server around the driver, and the client.

    Args:
        driver: driver to test.
        settings: settings of the driver, as text by name.
        transport: HTTP/2 server that carries gRPC.
        server: other server settings.
        backend_server: server behind the driver, if tests may pause and kill it.
        name: name in reports instead of the driver's.
        token: token of the client, for a server whose settings have a policy.
    """
    texts = dict(settings or {})
    server = replace(server, transport=transport)

    @asynccontextmanager
    async def open_backend(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AsyncIterator[Backend]:
        container = _container(driver, texts, server, wrap)
        async with AsyncExitStack() as stack:
            grpc_server = container.common.grpc_server()
            address, *_ = await grpc_server.start()
            stack.push_async_callback(grpc_server.stop)
            await stack.enter_async_context(_stopped_at_end(container.lifecycle(), start, texts))
            channel = await stack.enter_async_context(_channel(address, token=token))
            kv = KeyValueClient(channel)
            if start:
                profile = await kv.fetch_profile()
                describe = lambda: profile  # noqa: E731
            else:
                # Incomplete until the backend is initialized, so it cannot be fetched yet.
                gateway = container.gateway()
                describe = lambda: gateway.profile  # noqa: E731
            yield Backend(
                kv,
                LifecycleClient(channel),
                Level.WIRE,
                texts,
                describe,
                backend_server,
                lambda: _client(address, token=token),
                min(server.max_in_flight, server.max_in_flight_per_connection),
            )

    return Target(name or _name(driver), f"gRPC on {transport}", open_backend)


def through_proxy(
    driver: DriverSpec | str,
    settings: Mapping[str, str] | None = None,
    *,
    server: ProxySettings = PROXY,
    backend_server: BackendServer | None = None,
    name: str | None = None,
) -> OpenBackend:
    """Return the target of level 3: a `prism proxy` that launches the driver's process.

    Lifecycle commands go to the proxy, as an operator's do, and so to its only pattern.

    Args:
        driver: driver to test; it must be installed, so that another process finds it.
        settings: settings of the driver, as text by name.
        server: settings of the proxy.
        backend_server: server behind the driver, if tests may pause and kill it.
        name: name in reports instead of the driver's.

    Raises:
        InvalidArgument: the driver is not installed, or a setting is wrong.
        BrokenDriver: the driver cannot be loaded.
    """
    spec = installed_driver(driver)
    command = proxy_command(spec, dict(settings or {}), server, os.environ)
    proxies = ProxyPool(command)
    max_in_flight = min(server.max_in_flight, server.max_in_flight_per_connection)

    @asynccontextmanager
    async def open_backend(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AsyncIterator[Backend]:
        if wrap is not None:
            pytest.skip(f"{NOT_REACHABLE}the driver is in a process of its own")
        async with proxies.borrow() as address, _channel(address, PATTERN) as channel:
            kv = KeyValueClient(channel)
            profile = await kv.fetch_profile()
            yield Backend(
                kv,
                LifecycleClient(channel),
                Level.PROXY,
                {},
                lambda: profile,
                backend_server,
                lambda: _client(address, PATTERN),
                max_in_flight,
            )

    return Target(name or spec.name, "through a proxy", open_backend)


def _name(driver: DriverSpec | str) -> str:
    return driver if isinstance(driver, str) else driver.name


def _container(
    driver: DriverSpec | str,
    settings: Mapping[str, str],
    server: ServeSettings,
    wrap: Wrap | None,
) -> Container:
    spec = discovery.load(driver) if isinstance(driver, str) else driver
    configuration = Configuration(
        settings=server, spec=spec, driver_settings=settings, values=(), options=(), file=None
    )
    container = Container(configuration=configuration)
    if wrap is not None:
        container.driver.override(providers.Object(wrap(spec.factory())))
    return container


@asynccontextmanager
async def _stopped_at_end(
    lifecycle: LifecycleMachine, start: bool, settings: Mapping[str, str]
) -> AsyncIterator[LifecycleMachine]:
    try:
        if start:
            await lifecycle.initialize(settings)
            await lifecycle.start()
        yield lifecycle
    finally:
        await lifecycle.stop(_STOP_TIMEOUT)


@asynccontextmanager
async def _client(
    address: str, pattern: str | None = None, *, token: str | None = None
) -> AsyncIterator[KeyValueClient]:
    async with _channel(address, pattern, token=token) as channel:
        yield KeyValueClient(channel)


@asynccontextmanager
async def _channel(
    address: str, pattern: str | None = None, *, token: str | None = None
) -> AsyncIterator[Channel]:
    channel = Channel(address, timeout=_CALL_TIMEOUT, tls=None, admin_token=token, pattern=pattern)
    try:
        yield channel
    finally:
        await channel.close()
