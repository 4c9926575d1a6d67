"""Connection to a Redis server, shared by many callers.

redis-py opens it: resolves names, asks sentinels, negotiates TLS, logs in, selects the
database. `Connection` then replaces the protocol on its transport, because redis-py waits
for each reply before it sends the next command. redis-py has no public name for the
transport; this module alone uses redis-py's private attributes.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import hiredis
import redis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.asyncio.connection import Connection as TcpConnection
from redis.exceptions import InvalidResponse

from prism.adapters.redis.errors import NoDatabaseError, UnexpectedReplyError, is_expected
from prism.adapters.redis.operations import Reply

_MAX_WRITE_BYTES = 256 << 10

_MAX_BYTES_IN_FLIGHT = 64 << 20
"""Bytes of unanswered requests, plus the estimated bytes of their replies."""

_REPLY_SIZE_WINDOW = 16
"""Number of requests over which the size of a reply is averaged."""

_REFUSAL_WAIT_S = 0.2
"""Time for a server to say why it closes new connections."""

_CLOSED_BY_SERVER = (ConnectionResetError, BrokenPipeError, asyncio.IncompleteReadError)

_log = logging.getLogger(__name__)

_NO_REPLY: Final = object()


class PendingRequest:
    """Commands that one caller sends together, and the replies so far.

    Attributes:
        payload: packed commands; emptied when they are sent.
        size: length of the payload in bytes.
        reply_count: number of commands, and so of replies to expect.
        deadline: time on the loop's clock after which the request fails with TimeoutError.
        result: future of all replies, in which a failure is a reply too; already done if
            the caller was cancelled or timed out.
        replies: replies received so far.
    """

    __slots__ = ("deadline", "payload", "replies", "reply_count", "result", "size")

    def __init__(
        self, payload: bytes, reply_count: int, result: asyncio.Future[list[Reply]], deadline: float
    ) -> None:
        self.payload = payload
        self.size = len(payload)
        self.reply_count = reply_count
        self.deadline = deadline
        self.result = result
        self.replies: list[Reply] = []

    def fail(self, error: Exception) -> None:
        """Use `error` as the reply to each unanswered command, unless the result is done."""
        if not self.result.done():
            missing = self.reply_count - len(self.replies)
            self.result.set_result(self.replies + [error] * missing)


class Connection(asyncio.Protocol):
    """Sends queued requests and assigns the replies to them, in the order sent.

    A broken connection is not reopened: requests that were sent and not answered get a
    `redis.ConnectionError`, because their outcome is unknown. An error reply that Prism cannot
    have caused breaks the connection too. A request whose caller is gone stays in order, and
    its replies are dropped.

    Args:
        redis_connection: redis-py's connection, not open yet.
        in_flight: maximum number of requests sent and not yet answered.
        on_capacity: called when more requests can be sent.
        on_closed: called once, after every pending request has its result.

    Attributes:
        is_closing: whether new requests are refused.
        closed: set after `on_closed` was called.
    """

    def __init__(
        self,
        redis_connection: AbstractConnection,
        *,
        in_flight: int,
        on_capacity: Callable[[], None],
        on_closed: Callable[[Connection], None],
    ) -> None:
        self._redis_connection = redis_connection
        self._in_flight = in_flight
        self._on_capacity = on_capacity
        self._on_closed = on_closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._reader = hiredis.Reader(
            protocolError=InvalidResponse, replyError=self._error_reply, notEnoughData=_NO_REPLY
        )
        self._pending: deque[PendingRequest] = deque()
        self._pending_bytes = 0
        self._reply_bytes = 0
        self._average_reply_bytes = 0.0
        self._last_progress = 0.0
        self._writing_paused = False
        self._error: Exception | None = None
        self.is_closing = False
        self.closed = asyncio.Event()

    async def open(self) -> None:
        """Connect. Call it once, before anything else; raises what redis-py raises."""
        try:
            await connect(self._redis_connection)
            self._transport = await replace_protocol(self._redis_connection, self)
        except BaseException:
            close_nowait(self._redis_connection)
            raise

    @property
    def is_idle(self) -> bool:
        """Whether every request that was sent is answered."""
        return not self._pending

    def stalled_s(self, now: float) -> float:
        """Seconds since the server last made progress on pending requests; 0 when idle."""
        return now - self._last_progress if self._pending else 0.0

    def send_from(self, queue: deque[PendingRequest]) -> None:
        """Send requests from the front of `queue`, as many as the limits allow.

        Requests whose result is already done are removed and not sent.
        """
        pending = self._pending
        if not pending:
            self._last_progress = self._loop.time()
        expected = self._pending_bytes + self._average_reply_bytes * len(pending)
        while not (self._writing_paused or self.is_closing):
            payloads: list[bytes] = []
            size = 0
            while (
                queue
                and len(pending) < self._in_flight
                and expected < _MAX_BYTES_IN_FLIGHT
                and size < _MAX_WRITE_BYTES
            ):
                request = queue.popleft()
                if request.result.done():
                    continue
                payloads.append(request.payload)
                request.payload = b""
                size += request.size
                expected += request.size + self._average_reply_bytes
                pending.append(request)
            if not payloads:
                return
            self._pending_bytes += size
            self._transport.write(b"".join(payloads))

    def fail_expired(self, now: float) -> None:
        """Fail the pending requests whose deadline has passed."""
        for request in self._pending:
            if request.deadline > now:
                return
            request.fail(TimeoutError())

    def close_when_idle(self) -> None:
        """Accept no more requests, and close once every pending one is answered."""
        self.is_closing = True
        if not self._pending:
            self._transport.abort()

    def abort(self, error: Exception) -> None:
        """Close at once, and fail the pending requests with `error`."""
        self.is_closing = True
        self._error = self._error or error
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._last_progress = self._loop.time()
        self._reply_bytes += len(data)
        pending, next_reply = self._pending, self._reader.gets
        before = len(pending)
        try:
            self._reader.feed(data)
            while (reply := next_reply()) is not _NO_REPLY:
                if not pending:
                    raise redis.ConnectionError("the server sent a reply without a request")
                request = pending[0]
                request.replies.append(reply)
                if len(request.replies) == request.reply_count:
                    pending.popleft()
                    self._pending_bytes -= request.size
                    if not request.result.done():
                        request.result.set_result(request.replies)
        except redis.RedisError as error:
            self.abort(error)
        if answered := before - len(pending):
            self._average_reply_bytes += (
                self._reply_bytes / answered - self._average_reply_bytes
            ) / _REPLY_SIZE_WINDOW
            self._reply_bytes = 0
            self._on_capacity()
            if self.is_closing:
                self.close_when_idle()

    def eof_received(self) -> None:
        self.is_closing = True

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._last_progress = self._loop.time()
        self._on_capacity()

    def connection_lost(self, error: Exception | None) -> None:
        self.is_closing = True
        close_nowait(self._redis_connection)
        if self._error is None:
            self._error = redis.ConnectionError("closed")
            self._error.__cause__ = error
        while self._pending:
            self._pending.popleft().fail(self._error)
        self._on_closed(self)
        self.closed.set()

    def _error_reply(self, text: str) -> Exception:
        error = parse_error(text)
        if not is_expected(error):
            unexpected = UnexpectedReplyError(str(error))
            _log.error("Redis sent an error that no command of Prism causes: %s", unexpected)
            # hiredis passes it on to `data_received`.
            raise unexpected
        if isinstance(error, redis.ReadOnlyError):
            # The server is no longer the master; a new connection may reach the new one.
            self.is_closing = True
        return error


async def connect(connection: AbstractConnection) -> None:
    """Open a redis-py connection; raises what redis-py raises.

    A server that refuses a connection sends the reason and closes it. redis-py is writing at that
    moment and notices only the close. The reason is then read over a second connection.
    """
    try:
        await connection.connect()  # type: ignore[no-untyped-call]
    except redis.ConnectionError as error:
        was_closed = isinstance(error.__cause__ or error.__context__, _CLOSED_BY_SERVER)
        if not (was_closed and isinstance(connection, TcpConnection)):
            raise
        refusal = await read_refusal(connection.host, connection.port)
        if refusal is None:
            raise
        raise refusal from error
    except redis.ResponseError as error:
        if str(error).startswith("DB index"):
            raise NoDatabaseError(int(connection.db)) from None
        raise


async def read_refusal(host: str, port: int) -> Exception | None:
    """Return the error with which a server refuses every new connection; None if it does not."""
    try:
        async with asyncio.timeout(_REFUSAL_WAIT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                line = await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError, ValueError):
        return None
    if not line.startswith(b"-"):
        return None
    return parse_error(line[1:].decode(errors="replace").strip())


async def replace_protocol(
    connection: AbstractConnection, protocol: asyncio.Protocol
) -> asyncio.Transport:
    """Return the transport of an open redis-py connection, with its protocol replaced.

    The caller keeps a reference to `connection` while it uses the transport, because redis-py's
    writer closes the transport when the writer is collected. At the end the caller calls
    `close_nowait`.

    Raises:
        redis.ConnectionError: the connection is closed, or has unread data.
    """
    if await connection.can_read():
        raise redis.ConnectionError("the connection is closed or has unread data")
    writer = connection._writer
    assert writer is not None
    # An open connection has a transport for both directions.
    transport = cast("asyncio.Transport", writer.transport)
    transport.set_protocol(protocol)
    return transport


def close_nowait(connection: AbstractConnection) -> None:
    """Close a redis-py connection without waiting; closing twice is safe."""
    connection._close()  # type: ignore[no-untyped-call]


def parse_error(text: str) -> Exception:
    """Return the exception that redis-py raises for an error reply."""
    error: Exception = DefaultParser.parse_error(text)  # type: ignore[no-untyped-call]
    return error


class CancellationCheck:
    """Detects a cancellation of the current task that redis-py lost.

    redis-py looks up masters and cluster nodes with `asyncio.wait_for`, which on Python
    3.11 drops a cancellation that arrives together with the result.
    """

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        self._requests_before = 0 if self._task is None else self._task.cancelling()

    def check(self) -> None:
        """Raise `CancelledError` if the task was cancelled since this object was made."""
        if self._task is not None and self._task.cancelling() > self._requests_before:
            raise asyncio.CancelledError
