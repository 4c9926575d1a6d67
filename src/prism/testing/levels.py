"""How the suite reaches a driver: in process, over gRPC, or through a proxy.

The first two are built by the container that a server is built by, and a proxy is the
command, so what is tested is what is served. A driver is named by its `DriverSpec`, or by
its entry point.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from dependency_injector import providers

from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.lifecycle import LifecycleClient
from prism.bootstrap import discovery
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.proxy.settings import ProxySettings
from prism.bootstrap.settings import ServeSettings, Transport
from prism.domain.lifecycle import LifecycleMachine
from prism.ports import DriverSpec
from prism.testing.proxies import Proxies
from prism.testing.proxy_command import PATTERN, installed, proxy_command
from prism.testing.suite import (
    NOT_REACHABLE,
    Backend,
    BackendServer,
    Level,
    OpenBackend,
    Wrap,
)
from prism.testing.target import Target, channel_to, client_of

SERVER = ServeSettings(grpc_port=0, metrics=False, reflection=False)
"""Any free port of loopback, and nothing beside gRPC."""

PROXY = ProxySettings(
    grpc_port=0, metrics=False, reflection=False, drain_timeout=timedelta(seconds=1)
)
"""The same, of a proxy, which nobody waits for once a test has failed."""

_CLOSE = timedelta(seconds=5)


def in_process(
    driver: DriverSpec | str,
    settings: Mapping[str, str] | None = None,
    *,
    server: ServeSettings = SERVER,
    backend_server: BackendServer | None = None,
    name: str | None = None,
) -> OpenBackend:
    """Level 1: the gateway and the state machine around the driver, and nothing between.

    Args:
        settings: the driver's own, as text by name.
        server: limits are taken from it.
        backend_server: what the driver talks to, if tests may take that away.
        name: what a report calls the backend, if not by the driver's name.
    """
    texts = dict(settings or {})

    @asynccontextmanager
    async def open_backend(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AsyncIterator[Backend]:
        container = _container(driver, texts, server, wrap)
        gateway = container.gateway()
        async with _closing(container.lifecycle(), start, texts) as lifecycle:
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
) -> OpenBackend:
    """Level 2: the driver behind a gRPC server, and the gRPC client in front of that.

    Args:
        settings: the driver's own, as text by name.
        transport: what carries gRPC.
        server: how else it is served.
        backend_server: what the driver talks to, if tests may take that away.
        name: what a report calls the backend, if not by the driver's name.
    """
    texts = dict(settings or {})
    server = replace(server, transport=transport)

    @asynccontextmanager
    async def open_backend(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AsyncIterator[Backend]:
        container = _container(driver, texts, server, wrap)
        async with AsyncExitStack() as stack:
            grpc_server = container.grpc_server()
            address, *_ = await grpc_server.start()
            stack.push_async_callback(grpc_server.stop)
            await stack.enter_async_context(_closing(container.lifecycle(), start, texts))
            channel = await stack.enter_async_context(channel_to(address))
            kv = KeyValueClient(channel)
            if start:
                profile = await kv.fetch_profile()
                describe = lambda: profile  # noqa: E731
            else:
                # Not whole yet, so it cannot be fetched once and for all.
                gateway = container.gateway()
                describe = lambda: gateway.profile  # noqa: E731
            yield Backend(
                kv,
                LifecycleClient(channel),
                Level.WIRE,
                texts,
                describe,
                backend_server,
                lambda: client_of(address),
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
    """Level 3: the driver in a process of its own, behind a `prism proxy` that launched it.

    What is commanded is the proxy, as an operator does, and so its one pattern.

    Args:
        driver: installed under its name, or another process could not find it.
        settings: the driver's own, as text by name.
        server: how the proxy serves.
        backend_server: what the driver talks to, if tests may take that away.
        name: what a report calls the backend, if not by the driver's name.

    Raises:
        InvalidArgument: the driver is not installed, or a setting is wrong.
        BrokenDriver: it cannot be loaded.
    """
    spec = installed(driver)
    command = proxy_command(spec, dict(settings or {}), server, os.environ)
    proxies = Proxies(command.arguments, command.environment)
    bound = min(server.max_in_flight, server.max_in_flight_per_connection)

    @asynccontextmanager
    async def open_backend(
        *, wrap: Wrap | None = None, start: bool = True
    ) -> AsyncIterator[Backend]:
        if wrap is not None:
            pytest.skip(f"{NOT_REACHABLE}the driver is in a process of its own")
        async with proxies.lent() as address, channel_to(address, PATTERN) as channel:
            kv = KeyValueClient(channel)
            profile = await kv.fetch_profile()
            yield Backend(
                kv,
                LifecycleClient(channel),
                Level.PROXY,
                {},
                lambda: profile,
                backend_server,
                lambda: client_of(address, PATTERN),
                bound,
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
async def _closing(
    lifecycle: LifecycleMachine, start: bool, settings: Mapping[str, str]
) -> AsyncIterator[LifecycleMachine]:
    try:
        if start:
            await lifecycle.initialize(settings)
            await lifecycle.start()
        yield lifecycle
    finally:
        await lifecycle.stop(_CLOSE)
