"""Operation stream of a client: many operations in each message of one stream.

All operations that callers start in one turn of the event loop go into one message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError, Message

from prism.adapters.client.errors import OpenCall, TrueStatus
from prism.adapters.client.propagation import TraceContext
from prism.adapters.wire.encoding import tag_of, varint
from prism.adapters.wire.methods import Method, Reply
from prism.adapters.wire.relay import Waiter
from prism.adapters.wire.status import error_of
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Internal,
    NotServing,
    Outcome,
    PrismError,
)
from prism.v1 import keyvalue_pb2 as pb

CLOSED = "not serving: the connection is closed"

# Every server accepts this: the smallest limit on messages is twice as high.
_MESSAGE_BYTES = 512 << 10

# Below what a server accepts in one message, for keys and values of batches as well.
_MESSAGE_ELEMENTS, _MESSAGE_CANCEL_IDS = 16_000, 8_000
_SMALL_BODY_BYTES = 512

# To change to another stream, no operation may be unanswered, or two on one key could change
# places. So long are others held back for that; if it was in vain, it is tried again later.
_HOLD_S, _HOLD_AGAIN_S = 0.3, 5.0

# The server's error about a deadline says whether the operation began. The client's own
# timeout, for a server that does not answer, comes this much later.
_TIMEOUT_MARGIN_S = 0.1

_OPERATIONS_TAG = tag_of(pb.OperateRequest, "operations")
_ID_TAG = tag_of(pb.Operation, "id")
_TIMEOUT_TAG = tag_of(pb.Operation, "timeout_ms")


class StreamsUnsupported(Exception):
    """The server has no operation streams, and so has not seen the operation."""


class PendingOperation:
    """Operation whose outcome has not arrived.

    Attributes:
        head: encoded fields before the body.
        body: encoded request, or the rest of the operation.
        expires_at: time of the loop's clock at which the client gives up; None: the waiter
            enforces the deadline.
        written: whether the server may have seen it.
    """

    __slots__ = ("body", "expires_at", "head", "id", "method", "waiter", "written")

    def __init__(
        self,
        identity: int,
        method: Method[Message],
        head: bytes,
        body: bytes,
        expires_at: float | None,
        waiter: Waiter,
    ) -> None:
        self.id = identity
        self.method = method
        self.head = head
        self.body = body
        self.expires_at = expires_at
        self.waiter = waiter
        self.written = False

    @property
    def outcome(self) -> Outcome:
        """Outcome that can be told without an answer."""
        return Outcome.UNKNOWN if self.written else Outcome.NOT_APPLIED

    def fail(self, error: Exception) -> None:
        """Report the error, unless the caller has gone."""
        if not self.waiter.done():
            self.waiter.set_exception(error)


class OperationStream:
    """Operations over one bidirectional stream, opened by the first of them.

    When the stream breaks, operations that were written have an unknown outcome and the
    others are not applied; nothing is sent twice. The next operation opens a new stream.

    Args:
        open_call: begins the call.
        error_of_call: translates the error of a failed call.
        timeout_s: timeout of each operation.
        idle_check_s: time after which a stream ends that nothing was sent over, at the
            latest after twice as long; None: it stays.
        is_leaving: tells whether the server wants no more calls on the stream's connection;
            another stream then takes its place. Asked at each check.

    Attributes:
        answers: whether the server is known to support operation streams.
    """

    def __init__(
        self,
        open_call: Callable[[], OpenCall],
        error_of_call: Callable[[grpc.aio.AioRpcError], PrismError],
        timeout_s: float,
        *,
        idle_check_s: float | None = None,
        is_leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        self._open_call = open_call
        self._is_leaving = is_leaving
        self._error_of_call = error_of_call
        self._pending = PendingOperations(timeout_s, self._write_soon)
        self._idle_check_s = idle_check_s
        self._session: asyncio.Task[None] | None = None
        self._ending: set[asyncio.Task[None]] = set()
        self._something_to_write: asyncio.Future[bool] | None = None
        self._renewing = False
        self._answered: asyncio.Event | None = None
        self._closed = False
        self.answers = False

    async def call(
        self,
        method: Method[Reply],
        request: bytes,
        trace: TraceContext | None = None,
        left_s: float | None = None,
    ) -> Reply:
        """Send one operation and return its reply.

        Args:
            request: encoded request.
            trace: trace context to send with it.
            left_s: seconds until the caller's deadline, which the caller enforces by
                cancelling; None: the stream's timeout holds and is enforced here.

        Raises:
            PrismError: sent by the server, or the stream broke.
            StreamsUnsupported: the server has no operation streams.
        """
        if self._closed:
            raise NotServing(CLOSED)
        future: asyncio.Future[Any]
        if left_s is None:
            pending, future = self._pending.add(method, request, trace)
        else:
            future = asyncio.get_running_loop().create_future()
            pending = self._pending.add_bounded(method, request, trace, left_s, future)
        try:
            reply: Reply = await future
        except asyncio.CancelledError:
            self._pending.give_up(pending)
            raise
        return reply

    def begin(
        self, method: Method[Message], operation: pb.Operation, waiter: Waiter
    ) -> PendingOperation:
        """Send one operation whose waiter is called in the step in which the reply arrives.

        A future, as `call` uses, would report the reply one step of the loop later.

        Args:
            operation: operation to send; its id is set here.
            waiter: receives the outcome, and calls `give_up` at the deadline.

        Returns:
            The argument of `give_up`.

        Raises:
            NotServing: the connection is closed.
        """
        if self._closed:
            raise NotServing(CLOSED)
        return self._pending.add_operation(method, operation, waiter)

    def give_up(self, pending: PendingOperation) -> None:
        """Cancel an operation. Safe more than once, and after the answer."""
        self._pending.give_up(pending)

    def renew(self) -> None:
        """Open another stream as soon as no operation is unanswered; none is lost."""
        if self._session is None or self._closed or self._renewing:
            return
        self._renewing = True
        if self._something_to_write is not None and not self._something_to_write.done():
            self._something_to_write.set_result(True)

    async def close(self) -> None:
        """Fail all pending operations, and end the stream. Safe more than once."""
        self._closed = True
        for pending in self._pending.take_all():
            pending.fail(
                BackendUnavailable(
                    "the connection was closed before the answer came", outcome=pending.outcome
                )
            )
        sessions = [*self._ending] if self._session is None else [*self._ending, self._session]
        self._session = None
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    def _write_soon(self) -> None:
        """Write in a later step, so that one message holds all operations of this turn."""
        if self._session is None:
            self._session = asyncio.create_task(self._run_session())
        elif self._something_to_write is not None and not self._something_to_write.done():
            self._something_to_write.set_result(True)

    async def _run_session(self) -> None:
        """Run one stream, from its opening to its end."""
        call = self._open_call()
        self._renewing = False
        true_status = TrueStatus(call)
        writing = asyncio.create_task(self._write(call))
        if self._idle_check_s is not None:
            loop = asyncio.get_running_loop()
            loop.call_later(self._idle_check_s, self._check_idle, asyncio.current_task(), 0)
        answered = False
        ended: grpc.aio.AioRpcError | None = None
        try:
            async for data in call:
                answered = True
                self._receive(data)
        except grpc.aio.AioRpcError as error:
            ended = await true_status.of(error)
        except DecodeError:
            call.cancel()
        except asyncio.CancelledError:
            # Either this task is cancelled, or the call was, with its channel.
            if self._closed:
                raise
        finally:
            # Writing ends first, so that no more operations become unknown.
            writing.cancel()
            if asyncio.current_task() is self._session:
                self._session = None
                self._fail_all(ended, answered=answered)
            with suppress(asyncio.CancelledError):
                await writing

    async def _write(self, call: OpenCall) -> None:
        # Until there is a connection, nothing has left this process for certain.
        # If there will be none, reading fails as well and reports why.
        with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            await call.wait_for_connection()
            while True:
                if self._renewing and await self._hold():
                    self._leave_session()
                    await call.done_writing()
                    return
                message = self._pending.next_message()
                if message is not None:
                    await call.write(message)
                    continue
                something = asyncio.get_running_loop().create_future()
                self._something_to_write = something
                if not await something:
                    await call.done_writing()
                    return

    async def _hold(self) -> bool:
        """Write nothing until every operation is answered; False: one takes too long."""
        self._answered = asyncio.Event()
        try:
            async with asyncio.timeout(_HOLD_S):
                while self._pending.some_unanswered:
                    self._answered.clear()
                    await self._answered.wait()
        except TimeoutError:
            asyncio.get_running_loop().call_later(_HOLD_AGAIN_S, self.renew)
            return False
        finally:
            self._answered = None
            self._renewing = False
        return True

    def _leave_session(self) -> None:
        """Let the present stream end, and begin another one if there is something to write."""
        session = self._session
        if session is None:
            return
        self._session = None
        self._ending.add(session)
        session.add_done_callback(self._ending.discard)
        if not self._pending.idle:
            self._write_soon()

    def _check_idle(self, session: asyncio.Task[None] | None, last_id: int) -> None:
        """End a stream that was not used since the last check.

        gRPC pings a connection that has open streams.
        """
        if session is None or session is not self._session or self._idle_check_s is None:
            return
        pending, writing = self._pending, self._something_to_write
        unused = last_id == pending.last_id and pending.idle
        if unused and writing is not None and not writing.done():
            self._leave_session()
            writing.set_result(False)
            return
        if self.answers and self._is_leaving():
            self.renew()
        loop = asyncio.get_running_loop()
        loop.call_later(self._idle_check_s, self._check_idle, session, pending.last_id)

    def _receive(self, data: bytes) -> None:
        self.answers = True
        take = self._pending.take
        for outcome in pb.OperateResponse.FromString(data).outcomes:
            pending = take(outcome.id)
            if pending is None or pending.waiter.done():
                continue
            field = outcome.WhichOneof("outcome")
            if field == pending.method.field:
                pending.waiter.set_result(getattr(outcome, field))
            elif field == "error":
                pending.waiter.set_exception(error_of(outcome.error))
            else:
                pending.waiter.set_exception(
                    Internal(f"the server answered {pending.method.field} with {field}")
                )
        if self._answered is not None:
            self._answered.set()

    def _fail_all(self, ended: grpc.aio.AioRpcError | None, *, answered: bool) -> None:
        unimplemented = ended is not None and ended.code() is grpc.StatusCode.UNIMPLEMENTED
        for pending in self._pending.take_all():
            if unimplemented and not answered:
                pending.fail(StreamsUnsupported())
            else:
                pending.fail(self._error_of(pending, ended))

    def _error_of(
        self, pending: PendingOperation, ended: grpc.aio.AioRpcError | None
    ) -> PrismError:
        if ended is None:
            return BackendUnavailable("the server ended the stream", outcome=pending.outcome)
        error = self._error_of_call(ended)
        if not pending.written:
            error.outcome = Outcome.NOT_APPLIED
        return error


class PendingOperations:
    """Operations that were started and not answered, and those of them still to write.

    Args:
        timeout_s: timeout of operations without a deadline of their own; they expire in
            the order in which they began.
        changed: called when there is something to write.

    Attributes:
        last_id: id of the last operation that was added.
    """

    def __init__(self, timeout_s: float, changed: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self._timeout = _timeout_field(timeout_s)
        self._changed = changed
        self._by_id: dict[int, PendingOperation] = {}
        self._unwritten: deque[PendingOperation] = deque()
        self._cancel_ids: list[int] = []
        self.last_id = 0
        self._timer: asyncio.TimerHandle | None = None
        # Kept, because finding the loop costs a system call: more than the rest of `add`.
        self._loop = asyncio.get_running_loop()

    def add(
        self, method: Method[Message], request: bytes, trace: TraceContext | None
    ) -> tuple[PendingOperation, asyncio.Future[Any]]:
        """Add an operation with the common timeout, which is enforced here.

        Returns:
            The operation, and the future of its reply.
        """
        loop = self._loop
        expires_at = loop.time() + self._timeout_s + _TIMEOUT_MARGIN_S
        if self._timer is None:
            self._timer = loop.call_at(expires_at, self._expire)
        future = loop.create_future()
        head = self._next_head(method, len(request), self._timeout, trace)
        return self._add(method, head, request, expires_at, future), future

    def add_bounded(
        self,
        method: Method[Message],
        request: bytes,
        trace: TraceContext | None,
        left_s: float,
        waiter: Waiter,
    ) -> PendingOperation:
        """Add an operation whose waiter gives it up after `left_s` seconds."""
        head = self._next_head(method, len(request), _timeout_field(left_s), trace)
        return self._add(method, head, request, None, waiter)

    def add_operation(
        self, method: Method[Message], operation: pb.Operation, waiter: Waiter
    ) -> PendingOperation:
        """Add an operation that is complete but for its id; its waiter gives it up."""
        self.last_id = operation.id = self.last_id + 1
        body = operation.SerializeToString()
        return self._add(method, _OPERATIONS_TAG + varint(len(body)), body, None, waiter)

    @property
    def idle(self) -> bool:
        """Whether no operation is pending, and nothing is left to write."""
        return not (self._by_id or self._unwritten or self._cancel_ids)

    @property
    def some_unanswered(self) -> bool:
        """Whether the server may have seen an operation and not answered it."""
        return any(pending.written for pending in self._by_id.values())

    def take(self, identity: int) -> PendingOperation | None:
        """Remove the operation of this id; None: nobody waits for it any more."""
        return self._by_id.pop(identity, None)

    def take_all(self) -> Iterator[PendingOperation]:
        """Remove all operations, and yield each."""
        everything = self._by_id
        self._by_id = {}
        self._unwritten.clear()
        self._cancel_ids.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        yield from everything.values()

    def give_up(self, pending: PendingOperation) -> None:
        """Remove the operation, and tell the server if it may have seen it."""
        if self._by_id.pop(pending.id, None) is not None and pending.written:
            self._cancel_ids.append(pending.id)
            self._changed()

    def next_message(self) -> bytes | None:
        """Return the next message and mark its operations as written; None: nothing to write."""
        unwritten = self._unwritten
        if not unwritten and not self._cancel_ids:
            return None
        left, elements_left = _MESSAGE_BYTES, _MESSAGE_ELEMENTS
        parts: list[bytes] = []
        while unwritten:
            pending = unwritten[0]
            left -= len(pending.head) + len(pending.body)
            if len(pending.body) > _SMALL_BODY_BYTES:
                # Not exact: the tags of keys and values of a batch occur inside values too.
                elements_left -= pending.body.count(b"\x0a") + pending.body.count(b"\x12")
            if (left < 0 or elements_left < 0) and parts:
                break
            unwritten.popleft()
            if pending.waiter.done():
                continue  # given up before it was written
            pending.written = True
            parts.append(pending.head)
            parts.append(pending.body)
        if self._cancel_ids:
            ids = self._cancel_ids[:_MESSAGE_CANCEL_IDS]
            del self._cancel_ids[: len(ids)]
            parts.append(pb.OperateRequest(cancel_ids=ids).SerializeToString())
        return b"".join(parts)

    def _next_head(
        self, method: Method[Message], size: int, timeout: bytes, trace: TraceContext | None
    ) -> bytes:
        """Number the next operation, and encode the fields before a request of this size."""
        self.last_id += 1
        inner = _ID_TAG + varint(self.last_id) + timeout
        if trace is not None:
            inner += pb.Operation(
                traceparent=trace.traceparent, tracestate=trace.tracestate
            ).SerializeToString()
        inner += method.request_tag + varint(size)
        return _OPERATIONS_TAG + varint(len(inner) + size) + inner

    def _add(
        self,
        method: Method[Message],
        head: bytes,
        body: bytes,
        expires_at: float | None,
        waiter: Waiter,
    ) -> PendingOperation:
        pending = PendingOperation(self.last_id, method, head, body, expires_at, waiter)
        self._by_id[pending.id] = pending
        self._unwritten.append(pending)
        self._changed()
        return pending

    def _expire(self) -> None:
        """Fail expired operations, and set the timer for the next one."""
        self._timer = None
        loop = self._loop
        now = loop.time()
        for pending in tuple(self._by_id.values()):
            if pending.expires_at is None:
                continue
            if pending.expires_at > now:
                self._timer = loop.call_at(pending.expires_at, self._expire)
                return
            pending.fail(
                BackendTimeout(
                    f"no answer within the deadline of {self._timeout_s:.3g} s",
                    outcome=pending.outcome,
                )
            )
            self.give_up(pending)


def _timeout_field(seconds: float) -> bytes:
    """Encode a timeout of at least a millisecond: a server reads 0 as its own default."""
    return _TIMEOUT_TAG + varint(int(seconds * 1000) or 1)
