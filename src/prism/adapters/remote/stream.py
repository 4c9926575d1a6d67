"""All that callers ask for in one turn of the event loop, in one message of one stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from prism.adapters.remote.calls import CLOSED
from prism.adapters.remote.ending import Ending
from prism.adapters.remote.methods import Method, Reply
from prism.adapters.remote.pending import Pending, Waiter
from prism.adapters.remote.propagation import TraceContext
from prism.adapters.remote.unanswered import Unanswered
from prism.adapters.wire.status import error_of
from prism.ports import BackendUnavailable, Internal, NotServing, Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb


class NoStream(Exception):
    """The server has no operation streams, and so has not seen the operation."""


class OperationStream:
    """Operations over one bidirectional stream, opened when there is one to send.

    When the stream breaks, what was written has an unknown outcome and what was not
    is not applied; nothing is repeated, and the next operation opens it again.

    Args:
        open_call: begins the call.
        error_of_call: what a failed call raises.
        timeout_s: of each operation.

    Attributes:
        answers: whether the server is known to have such streams.
    """

    def __init__(
        self,
        open_call: Callable[[], Any],
        error_of_call: Callable[[grpc.aio.AioRpcError], PrismError],
        timeout_s: float,
    ) -> None:
        self._open_call = open_call
        self._error_of_call = error_of_call
        self._unanswered = Unanswered(timeout_s, self._write_soon)
        self._session: asyncio.Task[None] | None = None
        self._something_to_write: asyncio.Future[None] | None = None
        self._closed = False
        self.answers = False

    def begin(self, method: Method[Any], operation: pb.Operation, waiter: Waiter) -> Pending:
        """As `call`, for who would rather be told than wait: in the step in which the answer
        comes, which a future would tell a step later.

        Args:
            operation: as it is sent, but for its id.
            waiter: gives it up when its time is over.

        Returns:
            What `give_up` takes.

        Raises:
            NotServing: the connection is closed.
        """
        if self._closed:
            raise NotServing(CLOSED)
        return self._unanswered.add_operation(method, operation, waiter)

    def give_up(self, pending: Pending) -> None:
        """Nobody waits for it any longer. Safe more than once, and after the answer."""
        self._unanswered.give_up(pending)

    async def call(
        self,
        method: Method[Reply],
        request: bytes,
        trace: TraceContext | None = None,
        left_s: float | None = None,
    ) -> Reply:
        """One operation.

        Args:
            request: encoded.
            trace: goes with it.
            left_s: until the deadline of whoever waits for it, who then gives it up; None:
                the stream's own timeout holds, and is kept here.

        Raises:
            PrismError: as the server said, or what became of the stream.
            NoStream: it has to be asked otherwise.
        """
        if self._closed:
            raise NotServing(CLOSED)
        if left_s is None:
            pending, future = self._unanswered.add(method, request, trace)
        else:
            future = asyncio.get_running_loop().create_future()
            pending = self._unanswered.add_bounded(method, request, trace, left_s, future)
        try:
            reply: Reply = await future
        except asyncio.CancelledError:
            self._unanswered.give_up(pending)
            raise
        return reply

    async def close(self) -> None:
        """Fail everything unanswered, and end the stream. Safe more than once."""
        self._closed = True
        for pending in self._unanswered.take_all():
            pending.fail(
                BackendUnavailable(
                    "the connection was closed before the answer came", outcome=pending.outcome
                )
            )
        if self._session is not None:
            session, self._session = self._session, None
            session.cancel()
            with suppress(asyncio.CancelledError):
                await session

    def _write_soon(self) -> None:
        """Whoever asks in the same turn of the loop is in the same message."""
        if self._session is None:
            self._session = asyncio.create_task(self._converse())
        elif self._something_to_write is not None and not self._something_to_write.done():
            self._something_to_write.set_result(None)

    async def _converse(self) -> None:
        """One stream, from its opening to its end."""
        call = self._open_call()
        ending = Ending(call)
        writing = asyncio.create_task(self._write(call))
        answered = False
        ended: grpc.aio.AioRpcError | None = None
        try:
            async for data in call:
                answered = True
                self._receive(data)
        except grpc.aio.AioRpcError as error:
            ended = await ending.of(error)
        except DecodeError:
            call.cancel()
        except asyncio.CancelledError:
            # Either this task is cancelled, or the call was, with its channel.
            if self._closed:
                raise
        finally:
            # Nothing is written any more, so nothing more becomes unknown.
            writing.cancel()
            if asyncio.current_task() is self._session:
                self._session = None
            self._fail_all(ended, answered=answered)
            with suppress(asyncio.CancelledError):
                await writing

    async def _write(self, call: Any) -> None:
        # Until there is a connection, nothing has left this process for certain.
        # When there is none to be had, reading fails as well and says why.
        with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            await call.wait_for_connection()
            while True:
                message = self._unanswered.next_message()
                if message is not None:
                    await call.write(message)
                    continue
                self._something_to_write = asyncio.get_running_loop().create_future()
                await self._something_to_write

    def _receive(self, data: bytes) -> None:
        self.answers = True
        take = self._unanswered.take
        for outcome in pb.OperateResponse.FromString(data).outcomes:
            pending = take(outcome.id)
            if pending is None or pending.waiter.done():
                continue
            what = outcome.WhichOneof("outcome")
            if what == pending.method.field:
                pending.waiter.set_result(getattr(outcome, what))
            elif what == "error":
                pending.waiter.set_exception(error_of(outcome.error))
            else:
                pending.waiter.set_exception(Internal(f"the server answered with {what}"))

    def _fail_all(self, ended: grpc.aio.AioRpcError | None, *, answered: bool) -> None:
        unimplemented = ended is not None and ended.code() is grpc.StatusCode.UNIMPLEMENTED
        for pending in self._unanswered.take_all():
            if unimplemented and not answered:
                pending.fail(NoStream())
            else:
                pending.fail(self._error(pending, ended))

    def _error(self, pending: Pending, ended: grpc.aio.AioRpcError | None) -> PrismError:
        if ended is None:
            return BackendUnavailable("the server ended the stream", outcome=pending.outcome)
        error = self._error_of_call(ended)
        if not pending.written:
            error.outcome = Outcome.NOT_APPLIED
        return error
