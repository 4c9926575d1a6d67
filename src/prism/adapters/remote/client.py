"""The public client: `prism.connect`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from prism.adapters.remote.channel import Channel
from prism.adapters.remote.health import ask_health
from prism.adapters.remote.key_value import RemoteKeyValue
from prism.adapters.remote.lifecycle import RemoteLifecycle
from prism.adapters.remote.propagation import propagation
from prism.adapters.remote.tls import TLS
from prism.ports import Profile

CALL_TIMEOUT = timedelta(seconds=5)


class Client(RemoteKeyValue):
    """A connection to a Prism server: every method of `prism.ports.FullKeyValue`.

    Attributes:
        profile: which driver is behind it, its capabilities and its limits.
        lifecycle: what an operator may command.
    """

    def __init__(self, channel: Channel, profile: Profile) -> None:
        super().__init__(channel)
        self.profile = profile
        self.lifecycle = RemoteLifecycle(channel)


@asynccontextmanager
async def connect(
    address: str,
    *,
    timeout: timedelta = CALL_TIMEOUT,
    tls: TLS | None = None,
    admin_token: str | None = None,
    pattern: str | None = None,
) -> AsyncIterator[Client]:
    """Connect to a Prism server, for as long as the context lasts.

        async with prism.connect("127.0.0.1:9090") as kv:
            await kv.set("greeting", b"hello")
            entry = await kv.get("greeting")

    Where the application has imported OpenTelemetry before, each call carries the trace
    context of the span that is current.

    Args:
        address: `host:port` or `unix:PATH`.
        timeout: of each call, connecting included.
        tls: None talks plain text.
        admin_token: for lifecycle calls to a server that wants it.
        pattern: which of those behind a proxy shall serve the calls; None: its default.

    Raises:
        PreconditionFailed: there is no such pattern.
        BackendUnavailable, BackendTimeout: there is no server at the address.
        NotServing: there is one, which has not started yet.
    """
    channel = Channel(
        address,
        timeout=timeout,
        tls=tls,
        admin_token=admin_token,
        pattern=pattern,
        trace_context=propagation(),
    )
    try:
        yield Client(channel, await RemoteKeyValue(channel).fetch_profile())
    finally:
        await channel.close()


@asynccontextmanager
async def connect_lifecycle(
    address: str,
    *,
    timeout: timedelta = CALL_TIMEOUT,
    tls: TLS | None = None,
    admin_token: str | None = None,
) -> AsyncIterator[RemoteLifecycle]:
    """Connect to command a server, whatever state its driver is in; else as `connect`."""
    channel = Channel(
        address,
        timeout=timeout,
        tls=tls,
        admin_token=admin_token,
        trace_context=propagation(),
    )
    try:
        yield RemoteLifecycle(channel)
    finally:
        await channel.close()


async def check_health(
    address: str, *, timeout: timedelta = CALL_TIMEOUT, tls: TLS | None = None
) -> str:
    """Ask the standard health service: `SERVING`, `NOT_SERVING`, …

    https://github.com/grpc/grpc/blob/master/doc/health-checking.md
    """
    channel = Channel(address, timeout=timeout, tls=tls, admin_token=None)
    try:
        return await ask_health(channel)
    finally:
        await channel.close()
