"""Budgets of memory that connections may use, each and together."""

from __future__ import annotations

import asyncio

from prism.ports import Exhausted, Outcome

REPLY_OVERHEAD_BYTES = 4096
"""Memory that a waiting reply holds beside its bytes: a task, a stream, frames."""

SMALL_REPLY_BYTES = 64 << 10
"""Replies up to this size are never refused, so no write is refused after it was applied."""

MAX_UNREAD_BYTES = 96 << 20
MAX_CONNECTION_UNREAD_BYTES = 64 << 20

_WAIT_FRACTION = 8
"""Calls wait when this fraction of a limit is used: the rest is for calls that run already."""


class ConnectionBudget:
    """Bytes in use by each connection, and by all together, within limits.

    Args:
        max_bytes: maximum of all connections together.
        max_connection_bytes: maximum of one connection.

    Attributes:
        used: bytes in use by all connections.
        refused: number of requests for bytes that were refused.
    """

    def __init__(self, *, max_bytes: int, max_connection_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.max_connection_bytes = max_connection_bytes
        self.used = 0
        self.refused = 0
        self._by_connection: dict[str, int] = {}

    def used_by(self, connection: str) -> int:
        """Return the bytes in use by a connection."""
        return self._by_connection.get(connection, 0)

    def fits(self, connection: str, size: int) -> bool:
        """Return whether a connection may use this many bytes more."""
        return (
            self.used + size <= self.max_bytes
            and self._by_connection.get(connection, 0) + size <= self.max_connection_bytes
        )

    def add(self, connection: str, size: int) -> None:
        """Count bytes in use, whether they fit or not."""
        self._by_connection[connection] = self._by_connection.get(connection, 0) + size
        self.used += size

    def remove(self, connection: str, size: int) -> None:
        """Release bytes that `add` has counted."""
        self.used -= size
        left = self._by_connection[connection] - size
        if left:
            self._by_connection[connection] = left
        else:
            del self._by_connection[connection]


class UnreadReplies:
    """Limits the replies that callers have not read.

    A caller that reads more slowly than it asks must not fill the memory. While more than
    an eighth of a limit is used, further calls wait before they begin (`wait_for_room`). A reply
    that exceeds a limit is refused (`refusal_of`): that happens when many calls with large
    replies began while there was room.

    Args:
        max_bytes: maximum of all connections together.
        max_connection_bytes: maximum of one connection.
    """

    def __init__(
        self,
        *,
        max_bytes: int = MAX_UNREAD_BYTES,
        max_connection_bytes: int = MAX_CONNECTION_UNREAD_BYTES,
    ) -> None:
        self._bytes = ConnectionBudget(
            max_bytes=max_bytes, max_connection_bytes=max_connection_bytes
        )
        self._released = asyncio.Event()

    @property
    def used(self) -> int:
        """Bytes of all waiting replies, with their overhead."""
        return self._bytes.used

    @property
    def refused(self) -> int:
        """Number of replies that were refused."""
        return self._bytes.refused

    def has_room(self, connection: str) -> bool:
        """Return whether a call of this connection may begin.

        A connection that reads its replies never waits for those that do not.
        """
        used = self._bytes
        own = used.used_by(connection)
        return own <= SMALL_REPLY_BYTES or (
            own <= used.max_connection_bytes // _WAIT_FRACTION
            and used.used <= used.max_bytes // _WAIT_FRACTION
        )

    async def wait_for_room(self, connection: str) -> None:
        """Wait until a call of this connection may begin. Cancelling is safe."""
        while not self.has_room(connection):
            self._released.clear()
            await self._released.wait()

    def refusal_of(self, connection: str, size: int) -> Exhausted | None:
        """Return why a reply of this size exceeds a limit; None: it does not.

        Small replies never do, nor does the first reply of a connection. The error is not
        raised here: its traceback would refer to the frame that holds the reply, and keep
        the reply until the garbage collector runs.
        """
        budget = self._bytes
        if size <= SMALL_REPLY_BYTES or budget.fits(connection, size):
            return None
        unread = budget.used_by(connection)
        if not unread and budget.used <= budget.max_bytes:
            return None
        budget.refused += 1
        return Exhausted(
            f"{unread:,} bytes of replies to this connection are not read yet, "
            f"{budget.used:,} of all: read replies before asking for more",
            outcome=Outcome.UNKNOWN,
        )

    def add(self, connection: str, size: int) -> None:
        """Count a reply until `release` is called with the same arguments."""
        self._bytes.add(connection, size + REPLY_OVERHEAD_BYTES)

    def release(self, connection: str, size: int) -> None:
        """Forget a reply that the transport took, or that will not be read."""
        self._bytes.remove(connection, size + REPLY_OVERHEAD_BYTES)
        if not self._released.is_set():
            self._released.set()
