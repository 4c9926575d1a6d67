"""Limits on what callers may leave unfinished: calls, half-sent requests, unread replies."""

from __future__ import annotations

from datetime import timedelta
from typing import Self

from prism.adapters.grpc.transports.framing import refused
from prism.domain.connection_budget import ConnectionBudget, UnreadReplies
from prism.domain.turns import MessageTurns, Turns
from prism.ports import Exhausted, Outcome

_MAX_OPEN_CALLS = 4096

CROWD = 1024
"""Calls are counted by connection only while more than this many are open."""

_FEW_CALLS = 32
"""Calls that a connection may have open, however many others there are."""

_MAX_PARTIAL_BYTES = 64 << 20
_MAX_PARTIAL_CONNECTION_BYTES = 16 << 20


class PeerLimits:
    """Counts what callers leave unfinished, on all connections of one server.

    Args:
        unread: replies that callers have not read.
        turns: turns of the event loop, in which work begins.
        stall_timeout: time that a caller may take to read a reply.

    Attributes:
        open_calls: number of calls and streams that have begun and not ended.
        message_turns: turns of decoding large messages.
        stalled: number of calls that ended because their caller did not read.
    """

    def __init__(self, unread: UnreadReplies, turns: Turns, stall_timeout: timedelta) -> None:
        self.unread = unread
        self.turns = turns
        self.stall_s = stall_timeout.total_seconds()
        self.open_calls = 0
        self._crowd: dict[str, int] = {}
        self.message_turns = MessageTurns()
        self.stalled = 0
        self._partial = ConnectionBudget(
            max_bytes=_MAX_PARTIAL_BYTES, max_connection_bytes=_MAX_PARTIAL_CONNECTION_BYTES
        )

    def join_crowd(self, connection: str) -> None:
        """Count a call that begins while more than `CROWD` are open, until `leave_crowd`.

        Raises:
            Rejected: too many calls and streams are open, and this connection has its share.
        """
        own = self._crowd.get(connection, 0) + 1
        self._crowd[connection] = own
        if self.open_calls > _MAX_OPEN_CALLS and own > _FEW_CALLS:
            raise refused(
                Exhausted(
                    f"{_MAX_OPEN_CALLS:,} calls are open, which is the limit: try again later",
                    outcome=Outcome.NOT_APPLIED,
                )
            )

    def leave_crowd(self, connection: str) -> None:
        """Forget a call that `join_crowd` counted, or refused."""
        left = self._crowd[connection] - 1
        if left:
            self._crowd[connection] = left
        else:
            del self._crowd[connection]

    def partial(self, connection: str) -> PartialRequest:
        """Return a context manager that counts the bytes of one half-sent message."""
        return PartialRequest(self._partial, connection)


class PartialRequest:
    """Bytes received of one message that is not complete."""

    __slots__ = ("_budget", "_connection", "_size")

    def __init__(self, budget: ConnectionBudget, connection: str) -> None:
        self._budget = budget
        self._connection = connection
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._count(0)

    def set(self, size: int) -> None:
        """Set the number of bytes.

        Raises:
            Rejected: half-sent messages of this connection, or of all, have too many bytes.
        """
        added = size - self._size
        if added > 0 and not self._budget.fits(self._connection, added):
            raise refused(
                Exhausted(
                    "too many half-sent requests are open: finish some before others begin",
                    outcome=Outcome.NOT_APPLIED,
                )
            )
        self._count(size)

    def _count(self, size: int) -> None:
        if size != self._size:
            if self._size:
                self._budget.remove(self._connection, self._size)
            if size:
                self._budget.add(self._connection, size)
            self._size = size
