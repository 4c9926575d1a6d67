"""A factory of backends with a name, and the connections that backends are reached by."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from prism.adapters.client.channel import Channel
from prism.adapters.client.key_value import KeyValueClient
from prism.testing.suite import Backend, OpenBackend, Wrap

# Of each call: a machine that is busy fails no test.
_CALL = timedelta(seconds=30)


@dataclass(frozen=True, slots=True)
class Target:
    """A factory of backends, and what a report calls it.

    Attributes:
        backend: the driver's name, unless another was given.
        level: how it is reached.
    """

    backend: str
    level: str
    open_backend: OpenBackend

    def __call__(
        self, *, wrap: Wrap | None = None, start: bool = True
    ) -> AbstractAsyncContextManager[Backend]:
        """Open one; see `OpenBackend`."""
        return self.open_backend(wrap=wrap, start=start)


@asynccontextmanager
async def client_of(address: str, pattern: str | None = None) -> AsyncIterator[KeyValueClient]:
    """One more client of the same backend, for as long as the context lasts."""
    async with channel_to(address, pattern) as channel:
        yield KeyValueClient(channel)


@asynccontextmanager
async def channel_to(address: str, pattern: str | None = None) -> AsyncIterator[Channel]:
    """A connection, for as long as the context lasts; behind a proxy, to that pattern."""
    channel = Channel(address, timeout=_CALL, tls=None, admin_token=None, pattern=pattern)
    try:
        yield channel
    finally:
        await channel.close()
