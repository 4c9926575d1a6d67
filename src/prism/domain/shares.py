"""Shares: how much of one kind of work each connection may have in progress at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Shares:
    """Bound on the work that each connection has in progress; its further work waits in order.

    Args:
        most: pieces of work that a connection may have in progress at once.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[str, int] = {}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    def take(self, connection: str) -> bool:
        """Take a place of this connection, until `release`; return False if none is free."""
        taken = self._taken.get(connection, 0)
        if taken >= self._most:
            return False
        self._taken[connection] = taken + 1
        return True

    async def wait(self, connection: str) -> None:
        """Wait for a place of this connection, and take it. Cancelling is safe."""
        place = asyncio.get_running_loop().create_future()
        queue = self._waiting.setdefault(connection, deque())
        queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.cancelled():
                queue.remove(place)
                if not queue:
                    del self._waiting[connection]
            else:
                # The place was given in the same turn of the loop.
                self.release(connection)
            raise

    def release(self, connection: str) -> None:
        """Give a place back, to the work that has waited longest."""
        if (queue := self._waiting.get(connection)) is not None:
            place = queue.popleft()
            if not queue:
                del self._waiting[connection]
            place.set_result(None)
            return
        taken = self._taken[connection] - 1
        if taken:
            self._taken[connection] = taken
        else:
            del self._taken[connection]
