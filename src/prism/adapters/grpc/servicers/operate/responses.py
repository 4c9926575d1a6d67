"""Outcomes of operations: recorded once each, encoded once, and sent many to a message."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from time import perf_counter_ns

from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.calls import CallObserver, failure_status, too_large
from prism.adapters.grpc.servicers.operate.operation import Operation, StreamLimits
from prism.adapters.wire.encoding import tag_of, varint
from prism.adapters.wire.status import status_of
from prism.domain.connection_budget import SMALL_REPLY_BYTES, UnreadReplies
from prism.domain.deadline import overdue
from prism.ports import BackendUnavailable, Exhausted, Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb

# More than a message and an outcome add to the size of a reply.
_FRAMING_BYTES = 32

_ID_TAG = tag_of(pb.OperationOutcome, "id")
_ERROR_TAG = tag_of(pb.OperationOutcome, "error")
_OUTCOMES_TAG = tag_of(pb.OperateResponse, "outcomes")


class EncodedResponse:
    """An `OperateResponse` that is encoded already."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def SerializeToString(self) -> bytes:  # noqa: N802  (name of the method of messages)
        return b"".join(self._parts)


class Outbox:
    """Encoded outcomes to be sent, in the order of completion.

    Args:
        max_message_bytes: maximum size of one message; each outcome is smaller.
        unread: replies that callers have not read; large outcomes count there while they wait.
    """

    def __init__(self, max_message_bytes: int, unread: UnreadReplies, connection: str) -> None:
        self._max_message_bytes = max_message_bytes
        self._unread = unread
        self._connection = connection
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether a message must be sent before more operations are read."""
        return self._bytes > self._max_message_bytes

    def refusal_of(self, reply: bytes) -> Exhausted | None:
        """Return why the caller has too much unread for this large reply; None: there is room."""
        return self._unread.refusal_of(self._connection, len(reply))

    def put(self, identity: int, tag: bytes, reply: bytes) -> None:
        """Add an outcome: the encoded reply, under the tag of its field."""
        size = len(reply)
        if size > SMALL_REPLY_BYTES:
            self._unread.add(self._connection, size)
        inner = _ID_TAG + varint(identity) + tag + varint(size)
        head = _OUTCOMES_TAG + varint(len(inner) + size) + inner
        self._waiting.append((head, reply))
        self._bytes += len(head) + size

    def put_encoded(self, outcomes: bytes) -> None:
        """Add an encoded message of small outcomes, smaller than one message may be."""
        self._waiting.append((outcomes, b""))
        self._bytes += len(outcomes)

    def take(self) -> EncodedResponse:
        """Return the next message: at least one outcome, and as many as fit."""
        waiting = self._waiting
        left = self._max_message_bytes
        parts: list[bytes] = []
        while waiting:
            head, reply = waiting[0]
            size = len(head) + len(reply)
            if size > left and parts:
                break
            left -= size
            if len(reply) > SMALL_REPLY_BYTES:
                self._unread.release(self._connection, len(reply))
            parts += waiting.popleft()
        self._bytes -= self._max_message_bytes - left
        return EncodedResponse(parts)

    def close(self) -> None:
        """Drop what was not sent."""
        for _, reply in self._waiting:
            if len(reply) > SMALL_REPLY_BYTES:
                self._unread.release(self._connection, len(reply))
        self._waiting.clear()


class Responder:
    """Unanswered operations of one stream: each is answered once, counted and observed.

    Args:
        outbox: receives the outcomes.
        answered: called after each outcome.
    """

    def __init__(
        self,
        limits: StreamLimits,
        observer: CallObserver | None,
        outbox: Outbox,
        answered: Callable[[], None],
    ) -> None:
        self._max_reply_bytes = limits.max_message_bytes - _FRAMING_BYTES
        self._unchecked_bytes = min(SMALL_REPLY_BYTES, self._max_reply_bytes)
        self._log = limits.log
        self._observer = observer
        self._outbox = outbox
        self._answered = answered
        self._unanswered: dict[int, Operation] = {}

    def __len__(self) -> int:
        return len(self._unanswered)

    def get(self, identity: int) -> Operation | None:
        """Return the unanswered operation of this id."""
        return self._unanswered.get(identity)

    def expect(self, operation: Operation) -> None:
        """Count an operation that is to be answered."""
        self._unanswered[operation.id] = operation
        operation.kind.tally.started += 1
        if self._observer is not None:
            operation.observed = self._observer.begin(operation.kind.method.path, operation)

    def refuse(self, identity: int, refusal: PrismError) -> None:
        """Answer a message that did not become an operation."""
        self._outbox.put(identity, _ERROR_TAG, status_of(refusal).SerializeToString())
        self._answered()

    def reply(self, operation: Operation, reply: Message) -> None:
        """Answer with the reply, or with Exhausted if the reply is too large."""
        if operation.waited_from_ns and not operation.answered:
            self._log.succeeded(operation.kind.method.path, operation.waited_from_ns)
        data = reply.SerializeToString()
        if len(data) > self._unchecked_bytes and (refusal := self._refusal_of(data)) is not None:
            self.fail(operation, refusal)
        else:
            self._answer(operation, operation.kind.method.outcome_tag, data, None)

    def reply_encoded(
        self,
        outcomes: Sequence[tuple[Operation, pb.OperationOutcome]],
        response: pb.OperateResponse | None,
    ) -> None:
        """Answer operations with outcomes that are complete, as one piece if they are small.

        Args:
            response: a message with all of them and nothing else; None: there is none.
        """
        if response is None:
            response = pb.OperateResponse(outcomes=[outcome for _, outcome in outcomes])
        data = response.SerializeToString()
        if len(data) > self._unchecked_bytes:
            for operation, outcome in outcomes:
                self.reply(operation, getattr(outcome, operation.kind.method.field))
            return
        slow_before_ns = perf_counter_ns() - self._log.slow_ns
        for operation, _ in outcomes:
            if operation.waited_from_ns <= slow_before_ns:
                self._log.succeeded(operation.kind.method.path, operation.waited_from_ns)
            operation.answered = True
            del self._unanswered[operation.id]
            operation.kind.tally.ended += 1
            if operation.observed is not None and self._observer is not None:
                self._observer.end(operation.observed, None)
        self._outbox.put_encoded(data)
        self._answered()

    def _refusal_of(self, reply: bytes) -> Exhausted | None:
        """Return why a large reply cannot be sent; None: it can."""
        if len(reply) > self._max_reply_bytes:
            return too_large(reply, self._max_reply_bytes)
        return self._outbox.refusal_of(reply)

    def fail(self, operation: Operation, error: Exception) -> None:
        """Answer with the error."""
        status = failure_status(error, self._log.redact)
        if not operation.answered:
            self._log.failed(operation.kind.method.path, status, error, operation.waited_from_ns)
        self._answer_error(operation, status)

    def give_up(self, operation: Operation) -> None:
        """Answer an operation that was cancelled in progress: at its deadline, or by its caller."""
        if operation.overdue:
            self.fail(operation, overdue(operation.timeout_s))
        else:
            self.cancel(operation, Outcome.UNKNOWN)

    def cancel(self, operation: Operation, outcome: Outcome) -> None:
        """Answer an operation that its caller cancelled."""
        self._answer_error(operation, _cancelled(outcome))

    def abandon_all(self) -> Iterator[Operation]:
        """End all unanswered operations without sending outcomes, and yield each.

        No operation is answered after this.
        """
        # The receiver of this call refers to this object: without the cycle both are freed
        # at once.
        self._answered = _nobody_waits
        abandoned, self._unanswered = self._unanswered, {}
        for operation in abandoned.values():
            operation.answered = True
            self._end(operation, _cancelled(Outcome.UNKNOWN))
        yield from abandoned.values()

    def _answer_error(self, operation: Operation, status: status_pb2.Status) -> None:
        if not operation.answered:
            operation.kind.tally.failed[status.code] += 1
        self._answer(operation, _ERROR_TAG, status.SerializeToString(), status)

    def _answer(
        self, operation: Operation, tag: bytes, reply: bytes, status: status_pb2.Status | None
    ) -> None:
        if operation.answered:
            return
        operation.answered = True
        if operation.waiting is not None:
            operation.waiting.release()
            # It refers to the operation, which would be in a cycle.
            operation.waiting = None
        del self._unanswered[operation.id]
        self._end(operation, status)
        self._outbox.put(operation.id, tag, reply)
        self._answered()

    def _end(self, operation: Operation, status: status_pb2.Status | None) -> None:
        operation.kind.tally.ended += 1
        if operation.observed is not None and self._observer is not None:
            self._observer.end(operation.observed, status)


def _nobody_waits() -> None:
    pass


def _cancelled(outcome: Outcome) -> status_pb2.Status:
    """Return the status CANCELLED, which no error of ours has: only callers cancel."""
    status = status_of(
        BackendUnavailable("cancelled by its caller", reason="CANCELLED", outcome=outcome)
    )
    status.code = code_pb2.CANCELLED
    return status
