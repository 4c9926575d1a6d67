"""One connection to a server, which many callers share, from its opening to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

import hiredis
import redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import InvalidResponse

from prism.adapters.redis.exchange import Exchange
from prism.adapters.redis.takeover import let_go, parse_refusal, take_over

_ONE_WRITE_BYTES = 256 << 10

_BYTES_IN_FLIGHT = 64 << 20
"""Of what was sent, and of what is expected in answer to it."""

_OF_LATE = 16

_NO_REPLY: Final = object()


class Link(asyncio.Protocol):
    """Sends what callers have waiting, and gives each its replies, in the order sent.

    It is never mended: what was sent and not answered when it breaks has an unknown
    outcome. Whoever goes away after sending leaves a place, which the replies pass by.

    Args:
        connection: not open yet.
        in_flight: exchanges sent and not answered at most.
        has_room: called when more may be sent.
        has_ended: called once, when everybody has been told.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        *,
        in_flight: int,
        has_room: Callable[[], None],
        has_ended: Callable[[Link], None],
    ) -> None:
        self._connection = connection
        self._in_flight = in_flight
        self._has_room = has_room
        self._has_ended = has_ended
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=self._refusal, notEnoughData=_NO_REPLY
        )
        self._sent: deque[Exchange] = deque()
        self._sent_bytes = 0
        self._read_bytes = 0
        self._answer_bytes = 0.0
        self._quiet_since = 0.0
        self._paused = False
        self._retired = False
        self._failure: Exception | None = None
        self.ended = asyncio.Event()

    async def open(self) -> None:
        """Connect; once, and before anything else. Raises what redis-py does."""
        try:
            await self._connection.connect()  # type: ignore[no-untyped-call]
            self._transport = await take_over(self._connection, self)
        except BaseException:
            let_go(self._connection)
            raise

    @property
    def is_retired(self) -> bool:
        """Whether it takes nothing more."""
        return self._retired

    @property
    def is_idle(self) -> bool:
        """Whether everything that was sent is answered."""
        return not self._sent

    def silence(self, now: float) -> float:
        """Seconds for which the server has not moved, though it was asked."""
        return now - self._quiet_since if self._sent else 0.0

    def send(self, waiting: deque[Exchange]) -> None:
        """Send what there is room for, the first of it first, and take that away."""
        sent = self._sent
        if not sent:
            self._quiet_since = self._loop.time()
        expected = self._sent_bytes + self._answer_bytes * len(sent)
        while not (self._paused or self._retired):
            pieces: list[bytes] = []
            size = 0
            while (
                waiting
                and len(sent) < self._in_flight
                and expected < _BYTES_IN_FLIGHT
                and size < _ONE_WRITE_BYTES
            ):
                exchange = waiting.popleft()
                if exchange.outcome.done():
                    continue
                pieces.append(exchange.packed)
                exchange.packed = b""
                size += exchange.size
                expected += exchange.size + self._answer_bytes
                sent.append(exchange)
            if not pieces:
                return
            self._sent_bytes += size
            self._transport.write(b"".join(pieces))

    def time_out(self, now: float) -> None:
        """Let those go whose deadline is over."""
        for exchange in self._sent:
            if exchange.deadline > now:
                return
            exchange.fail(TimeoutError())

    def retire(self) -> None:
        """Take nothing more, and end when everything is answered."""
        self._retired = True
        if not self._sent:
            self._transport.abort()

    def end(self, failure: Exception) -> None:
        """Break it, for this reason."""
        self._retired = True
        self._failure = self._failure or failure
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._quiet_since = self._loop.time()
        self._read_bytes += len(data)
        sent, next_reply = self._sent, self._reader.gets
        before = len(sent)
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not _NO_REPLY:
                if not sent:
                    raise redis.ConnectionError("the server said what was not asked for")
                exchange = sent[0]
                exchange.replies.append(reply)
                if len(exchange.replies) == exchange.count:
                    sent.popleft()
                    self._sent_bytes -= exchange.size
                    if not exchange.outcome.done():
                        exchange.outcome.set_result(exchange.replies)
        except redis.RedisError as error:
            self.end(error)
        if answered := before - len(sent):
            self._answer_bytes += (self._read_bytes / answered - self._answer_bytes) / _OF_LATE
            self._read_bytes = 0
            self._has_room()
            if self._retired:
                self.retire()

    def eof_received(self) -> None:
        self._retired = True

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._quiet_since = self._loop.time()
        self._has_room()

    def connection_lost(self, error: Exception | None) -> None:
        self._retired = True
        let_go(self._connection)
        if self._failure is None:
            self._failure = redis.ConnectionError("closed")
            self._failure.__cause__ = error
        while self._sent:
            self._sent.popleft().fail(self._failure)
        self._has_ended(self)
        self.ended.set()

    def _refusal(self, text: str) -> Exception:
        refusal = parse_refusal(text)
        if isinstance(refusal, redis.ReadOnlyError):
            # It was the master, and who connects anew may find the one that is.
            self._retired = True
        return refusal
