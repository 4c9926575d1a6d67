"""A server behind two connections, each shared by all callers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from redis.asyncio.connection import AbstractConnection

from prism.adapters.redis.exchange import pack
from prism.adapters.redis.failures import is_lost
from prism.adapters.redis.lane import Lane
from prism.adapters.redis.operations import Reply
from prism.adapters.redis.scripts import Command

_LARGE_BYTES = 64 << 10


class MultiplexedServer:
    """Implements `Server`.

    Large requests have a connection of their own, so that small ones need not wait
    until they are through: beside eight writers of a mebibyte a small `get` takes a
    fifth of the time.

    Args:
        make: a connection that is not open yet.
        in_flight: calls sent over a connection and not answered at most.
    """

    def __init__(
        self,
        name: str,
        make: Callable[[], AbstractConnection],
        *,
        in_flight: int,
        timeout_s: float,
    ) -> None:
        self._name = name
        self._small = Lane(make, in_flight=in_flight, timeout_s=timeout_s)
        self._large = Lane(make, in_flight=in_flight, timeout_s=timeout_s)

    @property
    def name(self) -> str:
        return self._name

    @property
    def connections(self) -> int:
        """Those that are open."""
        return self._small.connections + self._large.connections

    async def open(self) -> None:
        """Connect; raises what redis-py does."""
        await self._small.open()
        await self._large.open()

    async def close(self) -> None:
        """Answer everybody with a failure, and take no more commands."""
        await asyncio.gather(self._small.close(), self._large.close())

    async def send(self, commands: Sequence[Command], *, repeatable: bool = False) -> list[Reply]:
        packed, count = pack(commands), len(commands)
        lane = self._small if len(packed) < _LARGE_BYTES else self._large
        replies = await lane.exchange(packed, count)
        if repeatable and is_lost(replies[-1]):
            replies = await lane.exchange(packed, count)
        return replies
