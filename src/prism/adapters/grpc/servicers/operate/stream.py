"""One stream: operations in, outcomes out in the order of completion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from google.rpc import status_pb2

from prism.adapters.grpc.calls import CallObserver, encode, rejection_of
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.deadline import within
from prism.adapters.grpc.servicers.operate.kinds import Kind
from prism.adapters.grpc.servicers.operate.operation import Operation
from prism.adapters.grpc.servicers.operate.outcomes import (
    ERROR_TAG,
    FRAMING_BYTES,
    Encoded,
    Outbox,
)
from prism.adapters.grpc.servicers.operate.refusals import cancelled, name_of
from prism.adapters.grpc.servicers.operate.turns import Turns
from prism.adapters.grpc.servicers.operate.workers import Workers
from prism.adapters.grpc.status import status_of
from prism.domain.admission import Admission, place
from prism.ports import (
    BackendTimeout,
    NotServing,
    Outcome,
    PrismError,
)
from prism.v1 import keyvalue_pb2 as pb

_FEWEST_A_TURN, _MOST_A_TURN = 32, 256
"""Operations begun before others have a turn of the loop: a message can hold a hundred
thousand. Those of a smaller one are begun in several turns too, so that its caller reads
the first outcomes, and asks for more, while the last are still worked on."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds for every stream.

    Attributes:
        default_timeout_s: of operations that come without one.
        max_message_bytes: of one message with outcomes.
    """

    default_timeout_s: float
    max_message_bytes: int


class OperationStream:
    """Serves one stream of operations.

    It ends when the caller has half-closed it and has every outcome, or when
    admission is closed and all that was read is answered. The status then says that
    nothing of what it did not read has been begun.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        admission: Admission,
        context: CallContext,
        bounds: Bounds,
        observer: CallObserver | None = None,
    ) -> None:
        self._kinds = kinds
        self._admission = admission
        self._context = context
        self._bounds = bounds
        self._observer = observer
        self._loop = asyncio.get_running_loop()
        self._unanswered: dict[int, Operation] = {}
        self._turns = Turns()
        self._workers = Workers(self._run)
        self._outbox = Outbox(bounds.max_message_bytes)
        self._change: asyncio.Future[None] | None = None
        self._room: asyncio.Future[None] | None = None

    async def outcomes(self, requests: AsyncIterator[pb.OperateRequest]) -> AsyncIterator[Encoded]:
        """Outcomes as they come, many to a message.

        Raises:
            NotServing: admission is closed.
            PrismError: of the messages read, the last one was malformed.
        """
        reading = asyncio.create_task(self._read(requests))
        reading.add_done_callback(lambda _: self._wake())
        self._admission.watch(self._wake)
        try:
            # grpcio's iterator of requests must have been asked once, or it complains.
            await asyncio.sleep(0)
            while True:
                # Whatever was answered in the turn that woke us goes out at once.
                while self._outbox:
                    message = self._outbox.take()
                    self._make_room()
                    yield message
                if not self._unanswered:
                    if reading.done():
                        reading.result()
                        return
                    self._admission.check_open()
                self._change = self._loop.create_future()
                await self._change
        finally:
            self._admission.unwatch(self._wake)
            reading.cancel()
            self._close()

    async def _read(self, requests: AsyncIterator[pb.OperateRequest]) -> None:
        async for request in requests:
            now = self._loop.time()
            some = min(max(len(request.operations) // 4, _FEWEST_A_TURN), _MOST_A_TURN)
            for count, operation in enumerate(request.operations, 1):
                self._receive(operation, now)
                if not count % some:
                    self._workers.staff()
                    await asyncio.sleep(0)
            self._workers.staff()
            for identity in request.cancel_ids:
                if (given_up := self._unanswered.get(identity)) is not None:
                    self._give_up(given_up)
            while self._outbox.full:
                self._room = self._loop.create_future()
                await self._room

    def _receive(self, message: pb.Operation, now: float) -> None:
        try:
            name = name_of(message, self._unanswered)
        except PrismError as refusal:
            self._outbox.put(message.id, ERROR_TAG, status_of(refusal).SerializeToString())
            self._wake()
            return
        seconds = message.timeout_ms / 1000 or self._bounds.default_timeout_s
        operation = Operation(
            message, self._kinds[name], getattr(message, name), self._context, seconds
        )
        self._unanswered[operation.id] = operation
        operation.kind.tally.started += 1
        if self._observer is not None:
            operation.begun = self._observer.begin(operation.kind.path, operation)
        if self._turns.take(operation):
            self._workers.offer(operation)
        else:
            self._wait(operation, now)

    def _wait(self, operation: Operation, now: float) -> None:
        """In flight from now on, though it cannot begin before its turn."""
        try:
            operation.place = self._admission.reserve(
                lambda: self._fail(
                    operation,
                    NotServing("aborted: it had not begun when the time to drain was over"),
                )
            )
        except PrismError as refusal:
            self._fail(operation, refusal)
            return
        operation.deadline = now + operation.timeout_s
        operation.timer = self._loop.call_at(operation.deadline, self._expire, operation)

    def _expire(self, operation: Operation) -> None:
        self._fail(
            operation,
            BackendTimeout(
                "the deadline passed before its turn came: operations on its keys were ahead",
                outcome=Outcome.NOT_APPLIED,
            ),
        )

    def _give_up(self, operation: Operation) -> None:
        if operation.task is None:
            self._answer_status(operation, cancelled(Outcome.NOT_APPLIED))
        else:
            operation.task.cancel()

    async def _run(self, operation: Operation) -> None:
        if not operation.answered:
            waited = operation.place is not None
            if waited:
                self._begin_late(operation)
            try:
                reply = await within(
                    operation.timeout_s, operation.kind.handler(operation.request, operation)
                )
                self._answer(
                    operation,
                    operation.kind.tag,
                    encode(reply, self._bounds.max_message_bytes - FRAMING_BYTES),
                )
            except asyncio.CancelledError:
                self._answer_status(operation, cancelled(Outcome.UNKNOWN))
            except Exception as error:
                self._fail(operation, error)
            if waited:
                # It was refused before the gateway came to its place.
                place.set(None)
        if ready := self._turns.leave(operation):
            for follower in ready:
                self._workers.offer(follower)
            self._workers.staff(free=1)

    def _begin_late(self, operation: Operation) -> None:
        """The place in admission is for the gateway to take up."""
        place.set(operation.place)
        if operation.timer is not None:
            operation.timer.cancel()
        if operation.deadline is not None:
            operation.timeout_s = max(operation.deadline - self._loop.time(), 0.0)

    def _fail(self, operation: Operation, error: Exception) -> None:
        self._answer_status(operation, rejection_of(error, operation.kind.path).status)

    def _answer_status(self, operation: Operation, status: status_pb2.Status) -> None:
        if not operation.answered:
            operation.kind.tally.refused[status.code] += 1
        self._answer(operation, ERROR_TAG, status.SerializeToString(), status)

    def _answer(
        self,
        operation: Operation,
        tag: bytes,
        reply: bytes,
        status: status_pb2.Status | None = None,
    ) -> None:
        if operation.answered:
            return
        operation.answered = True
        if operation.place is not None:
            operation.release()
        del self._unanswered[operation.id]
        self._end(operation, status)
        self._outbox.put(operation.id, tag, reply)
        self._wake()

    def _end(self, operation: Operation, status: status_pb2.Status | None) -> None:
        operation.kind.tally.ended += 1
        if self._observer is not None:
            self._observer.end(operation.begun, status)

    def _close(self) -> None:
        """Nobody waits for what is unanswered."""
        self._workers.close()
        for operation in self._unanswered.values():
            operation.answered = True
            operation.release()
            self._end(operation, None)
        self._unanswered.clear()

    def _wake(self) -> None:
        change = self._change
        if change is not None:
            self._change = None
            if not change.done():
                change.set_result(None)

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done() and not self._outbox.full:
            self._room.set_result(None)
