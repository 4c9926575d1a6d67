"""Asks sentinels for the master; connections that open at the same time share one lookup."""

from __future__ import annotations

import asyncio
from typing import Any

import redis.asyncio.sentinel

from prism.adapters.redis.access import Access, TlsConnection
from prism.adapters.redis.settings import Address, no_retries

_TIMEOUT_S = 1.0
"""Time for one sentinel to answer before the next one is asked."""


class Sentinel(redis.asyncio.sentinel.Sentinel):
    """redis-py's client of the sentinels, with one lookup at a time.

    redis-py keeps a connection to a sentinel for each lookup that ever ran beside others, so a
    thousand watches that open at once would leave a thousand connections.
    """

    _lookup: asyncio.Task[tuple[str, int]] | None = None

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Return the address of the master; raises what redis-py raises.

        The lookup goes on for the other callers when one of them is cancelled.
        """
        if self._lookup is None or self._lookup.done():
            self._lookup = asyncio.create_task(super().discover_master(service_name))
            # Every caller may be gone by then.
            self._lookup.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._lookup)

    async def aclose(self) -> None:
        """End a lookup, and close the connections."""
        if self._lookup is not None:
            self._lookup.cancel()
            await asyncio.wait([self._lookup])
        await super().aclose()


def make_sentinel(access: Access, address: Address) -> Sentinel:
    """Make the client of the sentinels at the address; it opens no connection yet."""
    options: dict[str, Any] = {
        "credential_provider": access.sentinel_login,
        "socket_timeout": _TIMEOUT_S,
        "socket_connect_timeout": _TIMEOUT_S,
        "retry": no_retries(),
        "protocol": 2,
    }
    sentinel = Sentinel(address.hosts, sentinel_kwargs=options)  # type: ignore[no-untyped-call]
    if access.tls is not None:
        # redis-py lets nobody choose the class of these connections when it makes the pools.
        for each in sentinel.sentinels:
            each.connection_pool.connection_class = TlsConnection
            each.connection_pool.connection_kwargs["tls"] = access.tls
    return sentinel
