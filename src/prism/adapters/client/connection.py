"""`prism.connect` and `prism.connect_admin`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from prism.adapters.client.channel import TLS, Channel
from prism.adapters.client.conveniences import ConvenientClient
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.lifecycle import LifecycleClient, serving_status
from prism.adapters.client.propagation import trace_context_source
from prism.adapters.client.retry import RetryingChannel
from prism.adapters.client.server import Server
from prism.adapters.client.servers import Servers, open_server
from prism.adapters.wire.keyvalue_messages import seconds_of
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    InvalidArgument,
    NotServing,
    Profile,
)

if TYPE_CHECKING:
    from prism.adapters.client.patterns import PatternsClient

CALL_TIMEOUT = timedelta(seconds=5)

_LOOK_AGAIN_S = 0.1


class AdminClient:
    """Connection for administering a server or proxy, in any state of its driver."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    @property
    def lifecycle(self) -> LifecycleClient:
        """Lifecycle commands of the server."""
        return LifecycleClient(self._channel)

    @property
    def patterns(self) -> PatternsClient:
        """Patterns of a proxy; other servers answer Unsupported."""
        # Only administrators of proxies pay for this import.
        from prism.adapters.client.patterns import PatternsClient

        return PatternsClient(self._channel)

    async def serving_status(self) -> str:
        """Ask the standard health service; see `lifecycle.serving_status`."""
        return await serving_status(self._channel)


class Client(ConvenientClient):
    """Connection to a Prism server, or several: every method of `prism.ports.FullKeyValue`.

    Attributes:
        profile: name, capabilities and limits of the server's driver.
        once: the same operations, each tried once.
    """

    def __init__(self, server: Server | Servers, retry: bool, profile: Profile) -> None:
        once = server.channel if isinstance(server, Server) else server
        super().__init__(RetryingChannel(server) if retry else once, profile)
        self.once = KeyValueClient(once)
        self._server = server

    @property
    def lifecycle(self) -> LifecycleClient:
        """Lifecycle commands of the server; raises InvalidArgument if there are several."""
        return self._admin.lifecycle

    @property
    def patterns(self) -> PatternsClient:
        """Patterns of a proxy; other servers answer Unsupported. As for `lifecycle`."""
        return self._admin.patterns

    @property
    def _admin(self) -> AdminClient:
        return AdminClient(self._server.only_channel)


@asynccontextmanager
async def connect(
    address: str,
    *,
    timeout: timedelta = CALL_TIMEOUT,
    tls: TLS | None = None,
    admin_token: str | None = None,
    token: str | None = None,
    pattern: str | None = None,
    retry: bool = True,
    wait_for_server: timedelta = timedelta(0),
) -> AsyncIterator[Client]:
    """Connect to a Prism server, for as long as the context lasts.

        async with prism.connect("127.0.0.1:9090") as kv:
            await kv.set("greeting", b"hello")
            entry = await kv.get("greeting")

    If the application has imported OpenTelemetry before, each call carries the trace
    context of the current span.

    Args:
        address: `host:port` or `unix:PATH`, or several with commas between them, whose servers
            have one store. A host may have several addresses; they are looked up again.
        timeout: longest duration of each call, connecting and retries included.
        tls: certificates; None: plain text.
        admin_token: token for lifecycle and pattern calls, if the server requires one.
        token: token by which a server with a policy knows the caller; replaces `admin_token`.
        pattern: name of the proxy's pattern that serves the calls; None: its default.
        retry: whether an operation is repeated within its timeout, where that is safe: if the
            server has not applied it, because it leaves, is overloaded or cannot be reached, or
            if it only reads. `Client.once` has the operations without retries, for single calls.
        wait_for_server: how long to wait for a server that does not answer or has not started
            yet, before this fails.

    Raises:
        InvalidArgument: the address has neither form, or a TLS file cannot be used.
        PreconditionFailed: the proxy has no such pattern.
        BackendUnavailable, BackendTimeout: no server answers at the address.
        NotServing: the server has not started yet.
    """
    server = open_server(
        address,
        timeout=timeout,
        tls=tls,
        admin_token=_one_token(admin_token, token),
        pattern=pattern,
        trace_context=trace_context_source(),
    )
    try:
        profile = await _profile(server, wait_for_server)
        yield Client(server, retry, profile)
    finally:
        await server.close()


@asynccontextmanager
async def connect_admin(
    address: str,
    *,
    timeout: timedelta = CALL_TIMEOUT,
    tls: TLS | None = None,
    admin_token: str | None = None,
    token: str | None = None,
) -> AsyncIterator[AdminClient]:
    """Connect to administer a server, in any state of its driver.

    Sends nothing by itself: a server that does not answer fails the first call. The
    arguments are those of `connect`.

    Raises:
        InvalidArgument: the address has neither form, or a TLS file cannot be used.
    """
    channel = Channel(
        address,
        timeout=timeout,
        tls=tls,
        admin_token=_one_token(admin_token, token),
        trace_context=trace_context_source(),
    )
    try:
        yield AdminClient(channel)
    finally:
        await channel.close()


async def _profile(server: Server | Servers, wait_for_server: timedelta) -> Profile:
    """Return the profile of the server; repeat until it serves, or the time has passed."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds_of("wait_for_server", wait_for_server)
    while True:
        try:
            profile = await KeyValueClient(server).fetch_profile()
            await server.wait(server.timeout_s)
            return profile
        except (BackendUnavailable, BackendTimeout, NotServing):
            if loop.time() + _LOOK_AGAIN_S > deadline:
                raise
        await asyncio.sleep(_LOOK_AGAIN_S)


def _one_token(admin_token: str | None, token: str | None) -> str | None:
    """Return the only token that is given; a call carries one."""
    if admin_token is not None and token is not None:
        raise InvalidArgument("admin_token and token exclude each other: give one")
    return token if admin_token is None else admin_token
