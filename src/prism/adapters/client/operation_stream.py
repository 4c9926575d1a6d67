"""Operation stream of a client: many operations in each message of one stream.

All operations that callers start in one turn of the event loop go into one message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2

from prism.adapters.client.grpc_call import Call, CallFailed
from prism.adapters.client.pending_operations import Pending, PendingOperation, PendingOperations
from prism.adapters.client.propagation import TraceContext
from prism.adapters.wire.methods import Method
from prism.adapters.wire.relay import OutcomeSink, Relayed, RelayedOutcome
from prism.adapters.wire.status import error_of
from prism.ports import (
    BackendUnavailable,
    Internal,
    NotServing,
    Outcome,
    PrismError,
)
from prism.v1 import keyvalue_pb2 as pb

CLOSED = "not serving: the connection is closed"

_MESSAGE_OPERATIONS = 32
"""Operations that are sent at once, before the end of this turn of the loop."""

_MOVES = 3
"""How often the operations of a stream that no server has begun are sent on another one."""

# The change to another stream waits until all operations are answered, or two on one key could be
# reordered. For that, new operations are held back for the first of these times. If some are
# unanswered even then, the change is tried again after the second.
_HOLD_S, _HOLD_AGAIN_S = 0.3, 5.0


class StreamsUnsupported(Exception):
    """The server has no operation streams, and so has not seen the operation."""


class OperationStream:
    """Operations over one bidirectional stream, opened by the first of them.

    When the stream breaks, operations that were written have an unknown outcome and the
    others are not applied; nothing is sent twice, unless the server has certainly not begun
    the stream. The next operation opens a new stream.

    Args:
        open_call: begins the call that it is given; raises CallFailed.
        error_of_call: translates the error of a failed call.
        timeout_s: timeout of each operation.
        idle_check_s: time after which a stream ends that nothing was sent over, at the
            latest after twice as long; None: it stays.

    Attributes:
        answers: whether the server is known to support operation streams.
    """

    def __init__(
        self,
        open_call: Callable[[Call], Awaitable[None]],
        error_of_call: Callable[[CallFailed], PrismError],
        timeout_s: float,
        *,
        idle_check_s: float | None = None,
    ) -> None:
        self._open_call = open_call
        self._error_of_call = error_of_call
        self._pending = PendingOperations(timeout_s, self._write_soon)
        self._idle_check_s = idle_check_s
        self._session: _Session | None = None
        self._opening: set[asyncio.Task[None]] = set()
        self._ending: set[_Session] = set()
        self._write_scheduled = False
        self._renewing = False
        self._hold_timer: asyncio.TimerHandle | None = None
        self._refused = 0
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self.answers = False

    def begin(
        self,
        method: Method[Message],
        request: bytes,
        trace: TraceContext | None = None,
        left_s: float | None = None,
    ) -> tuple[PendingOperation, asyncio.Future[Any]]:
        """Send one operation.

        Args:
            request: encoded request.
            trace: trace context to send with it.
            left_s: seconds until the caller's deadline, which the caller enforces by
                cancelling; None: the stream's timeout holds and is enforced here.

        Returns:
            The argument of `give_up`, which a cancelled caller calls, and the future of the
            reply. It fails with the error that the server sent or that broke the stream, or
            with StreamsUnsupported.

        Raises:
            NotServing: the connection is closed.
        """
        if self._closed:
            raise NotServing(CLOSED)
        return self._pending.add(method, request, trace, left_s)

    def relay(self, message: pb.Operation, relayed: Relayed) -> None:
        """Send one operation whose outcome is reported in the step in which it arrives.

        A future, as `begin` makes, would report it one step of the loop later.

        Raises:
            NotServing: the connection is closed.
        """
        if self._closed:
            raise NotServing(CLOSED)
        self._pending.add_relayed(message, relayed)

    def give_up(self, pending: Pending) -> None:
        """Cancel an operation. Safe more than once, and after the answer."""
        self._pending.give_up(pending)

    def renew(self) -> None:
        """Open another stream as soon as no operation is unanswered; none is lost."""
        if self._session is None or self._closed or self._renewing:
            return
        self._renewing = True
        self._hold_timer = self._loop.call_later(_HOLD_S, self._stop_holding)
        self._move_if_answered()

    async def close(self) -> None:
        """Fail all pending operations, and end the stream. Safe more than once."""
        self._closed = True
        self._cancel_hold()
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
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)

    def _write_soon(self, waiting: int) -> None:
        """Write in a later step, so that one message holds all operations of this turn.

        Many do not wait for the rest: the server then works on them while this process is busy
        with the others, instead of both waiting for each other in turn.
        """
        if waiting >= _MESSAGE_OPERATIONS and self._session is not None:
            self._write()
        elif not self._write_scheduled:
            self._write_scheduled = True
            self._loop.call_soon(self._write_now)

    def _write_now(self) -> None:
        self._write_scheduled = False
        if self._session is None and not self._closed and not self._pending.idle:
            self._open_session()
        else:
            self._write()

    def _write(self) -> None:
        session = self._session
        if session is None or self._renewing:
            return
        while session.is_writable and (message := self._pending.next_message()) is not None:
            session.send(message)

    def _open_session(self) -> None:
        session = self._session = _Session(self)
        self._cancel_hold()
        task = asyncio.create_task(self._run_opening(session))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _run_opening(self, session: _Session) -> None:
        # Until the call has begun, nothing has left this process for certain.
        try:
            await self._open_call(session)
        except CallFailed as failed:
            self._session_ended(session, failed)
        except PrismError as error:
            self._end_session(session)
            for pending in self._pending.take_all():
                pending.fail(error)
        else:
            if self._idle_check_s is not None:
                self._loop.call_later(self._idle_check_s, self._check_idle, session, 0)
            self._write()

    def _move_if_answered(self) -> None:
        """Leave a stream that is to be replaced, once every operation on it is answered."""
        if not self._renewing or self._pending.some_unanswered:
            return
        self._cancel_hold()
        self._leave_session()

    def _stop_holding(self) -> None:
        """Go on with the present stream, because an operation takes too long; try again later."""
        self._cancel_hold()
        self._loop.call_later(_HOLD_AGAIN_S, self.renew)
        self._write()

    def _cancel_hold(self) -> None:
        self._renewing = False
        if self._hold_timer is not None:
            self._hold_timer.cancel()
            self._hold_timer = None

    def _leave_session(self) -> None:
        """End the present stream, and begin another one if there is something to write."""
        session = self._session
        if session is None:
            return
        self._session = None
        self._ending.add(session)
        session.finish_sending()
        if not self._pending.idle:
            self._write_now()

    def _check_idle(self, session: _Session, last_id: int) -> None:
        """End a stream that was not used since the last check.

        A connection that has open streams is pinged.
        """
        if session is not self._session or self._idle_check_s is None or self._closed:
            return
        if last_id == self._pending.last_id and self._pending.idle:
            self._leave_session()
            return
        self._loop.call_later(self._idle_check_s, self._check_idle, session, self._pending.last_id)

    def _receive(self, session: _Session, data: bytes) -> None:
        self.answers = session.answered = True
        self._refused = 0
        try:
            response = pb.OperateResponse.FromString(data)
        except DecodeError:
            session.cancel()
            self._session_ended(session, None)
            return
        take = self._pending.take
        outcomes = response.outcomes
        relayed: dict[OutcomeSink, list[RelayedOutcome]] = {}
        for outcome in outcomes:
            pending = take(outcome.id)
            if pending is None:
                continue
            if isinstance(pending, PendingOperation):
                if not pending.done():
                    _settle(pending, outcome)
            elif (arrived := relayed.get(pending.sink)) is None:
                relayed[pending.sink] = [(pending, outcome)]
            else:
                arrived.append((pending, outcome))
        for sink, arrived in relayed.items():
            sink.arrived(arrived, response if len(arrived) == len(outcomes) else None)
        if self._renewing:
            self._move_if_answered()

    def _end_session(self, session: _Session) -> bool:
        """Forget a stream that has ended; return whether operations went through it."""
        self._ending.discard(session)
        if session is not self._session:
            return False
        self._session = None
        self._cancel_hold()
        return True

    def _session_ended(self, session: _Session, failed: CallFailed | None) -> None:
        if not self._end_session(session):
            return
        if failed is not None and failed.moved and self._refused < _MOVES:
            # No operation has been seen: all may go through another stream, in the same order.
            self._refused += 1
            self._pending.write_again()
            if not self._pending.idle:
                self._write_now()
            return
        unimplemented = failed is not None and failed.code == code_pb2.UNIMPLEMENTED
        for pending in self._pending.take_all():
            if unimplemented and not session.answered:
                pending.fail(StreamsUnsupported())
            else:
                pending.fail(self._error_of(pending, failed))

    def _error_of(self, pending: Pending, failed: CallFailed | None) -> PrismError:
        if failed is None:
            return BackendUnavailable("the server ended the stream", outcome=pending.outcome)
        error = self._error_of_call(failed)
        if not pending.written:
            error.outcome = Outcome.NOT_APPLIED
        return error


def _settle(pending: PendingOperation, outcome: pb.OperationOutcome) -> None:
    """Report the outcome of an operation to its caller."""
    field = outcome.WhichOneof("outcome")
    if field == pending.method.field:
        pending.future.set_result(getattr(outcome, field))
    elif field == "error":
        pending.future.set_exception(error_of(outcome.error))
    else:
        pending.future.set_exception(
            Internal(f"the server answered {pending.method.field} with {field}")
        )


class _Session(Call):
    """The call of one operation stream.

    Attributes:
        answered: whether the server has answered an operation on it.
    """

    def __init__(self, operations: OperationStream) -> None:
        super().__init__()
        self._operations = operations
        self.answered = False

    def message_arrived(self, message: bytes) -> None:
        self._operations._receive(self, message)

    def ended(self, failed: CallFailed | None) -> None:
        self._operations._session_ended(self, failed)

    def on_writable(self) -> None:
        self._operations._write()

    def on_leaving(self) -> None:
        if self is self._operations._session:
            self._operations.renew()
