"""`prism.connect` and `prism.connect_admin`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from prism.adapters.client.channel import TLS, Channel
from prism.adapters.client.key_value import KeyValueClient
from prism.adapters.client.lifecycle import LifecycleClient, serving_status
from prism.adapters.client.propagation import trace_context_source
from prism.ports import Profile

if TYPE_CHECKING:
    from prism.adapters.client.patterns import PatternsClient

CALL_TIMEOUT = timedelta(seconds=5)


class AdminClient:
    """Connection for administering a server or proxy, whatever the state of its driver."""

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


class Client(KeyValueClient):
    """Connection to a Prism server: every method of `prism.ports.FullKeyValue`.

    Attributes:
        profile: name, capabilities and limits of the server's driver.
    """

    def __init__(self, channel: Channel, profile: Profile) -> None:
        super().__init__(channel)
        self.profile = profile
        self._admin = AdminClient(channel)

    @property
    def lifecycle(self) -> LifecycleClient:
        """Lifecycle commands of the server."""
        return self._admin.lifecycle

    @property
    def patterns(self) -> PatternsClient:
        """Patterns of a proxy; other servers answer Unsupported."""
        return self._admin.patterns


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

    If the application has imported OpenTelemetry before, each call carries the trace
    context of the current span.

    Args:
        address: `host:port` or `unix:PATH`.
        timeout: longest duration of each call, connecting included.
        tls: certificates; None: plain text.
        admin_token: token for lifecycle and pattern calls, if the server requires one.
        pattern: name of the proxy's pattern that serves the calls; None: its default.

    Raises:
        InvalidArgument: the address has neither form, or a TLS file cannot be used.
        PreconditionFailed: the proxy has no such pattern.
        BackendUnavailable, BackendTimeout: no server answers at the address.
        NotServing: the server has not started yet.
    """
    async with _opened(
        address, timeout=timeout, tls=tls, admin_token=admin_token, pattern=pattern
    ) as channel:
        yield Client(channel, await KeyValueClient(channel).fetch_profile())


@asynccontextmanager
async def connect_admin(
    address: str,
    *,
    timeout: timedelta = CALL_TIMEOUT,
    tls: TLS | None = None,
    admin_token: str | None = None,
) -> AsyncIterator[AdminClient]:
    """Connect to administer a server, whatever the state of its driver.

    Sends nothing by itself: a server that does not answer fails the first call. The
    arguments are those of `connect`.

    Raises:
        InvalidArgument: the address has neither form, or a TLS file cannot be used.
    """
    async with _opened(address, timeout=timeout, tls=tls, admin_token=admin_token) as channel:
        yield AdminClient(channel)


@asynccontextmanager
async def _opened(
    address: str,
    *,
    timeout: timedelta,
    tls: TLS | None,
    admin_token: str | None,
    pattern: str | None = None,
) -> AsyncIterator[Channel]:
    channel = Channel(
        address,
        timeout=timeout,
        tls=tls,
        admin_token=admin_token,
        pattern=pattern,
        trace_context=trace_context_source(),
    )
    try:
        yield channel
    finally:
        await channel.close()
