"""What becomes of operations: each is answered once, counted and told."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from google.protobuf.message import Message
from google.rpc import status_pb2

from prism.adapters.grpc.calls import CallObserver, rejection_of, too_large
from prism.adapters.grpc.deadline import overdue
from prism.adapters.grpc.servicers.operate.bounds import Bounds
from prism.adapters.grpc.servicers.operate.operation import Operation
from prism.adapters.grpc.servicers.operate.outcomes import ERROR_TAG, FRAMING_BYTES, Outbox
from prism.adapters.grpc.servicers.operate.refusals import cancelled
from prism.adapters.wire.status import status_of
from prism.ports import Outcome, PrismError


class Answers:
    """The operations of one stream that are to be answered, and their way out.

    Args:
        outbox: takes the outcomes.
        answered: called after each.
    """

    def __init__(
        self,
        bounds: Bounds,
        observer: CallObserver | None,
        outbox: Outbox,
        answered: Callable[[], None],
    ) -> None:
        self._max_reply_bytes = bounds.max_message_bytes - FRAMING_BYTES
        self._log = bounds.log
        self._observer = observer
        self._outbox = outbox
        self._answered = answered
        self._unanswered: dict[int, Operation] = {}

    def __len__(self) -> int:
        return len(self._unanswered)

    def get(self, identity: int) -> Operation | None:
        """The one of that id, as long as it is not answered."""
        return self._unanswered.get(identity)

    def expect(self, operation: Operation) -> None:
        """It is to be answered."""
        self._unanswered[operation.id] = operation
        operation.kind.tally.started += 1
        if self._observer is not None:
            operation.begun = self._observer.begin(operation.kind.path, operation)

    def refuse(self, identity: int, refusal: PrismError) -> None:
        """What never became an operation has an outcome too."""
        self._outbox.put(identity, ERROR_TAG, status_of(refusal).SerializeToString())
        self._answered()

    def reply(self, operation: Operation, reply: Message) -> None:
        """It succeeded, unless the reply is more than can be sent."""
        if operation.waited_from_ns and not operation.answered:
            self._log.succeeded(operation.kind.path, operation.waited_from_ns)
        data = reply.SerializeToString()
        if len(data) > self._max_reply_bytes:
            self.fail(operation, too_large(data, self._max_reply_bytes))
        else:
            self._answer(operation, operation.kind.tag, data, None)

    def fail(self, operation: Operation, error: Exception) -> None:
        """It failed, as the error says."""
        status = rejection_of(error, self._log.redact).status
        if not operation.answered:
            self._log.failed(operation.kind.path, status, error, operation.waited_from_ns)
        self._refuse(operation, status)

    def give_up(self, operation: Operation) -> None:
        """It was cancelled while it was worked on: by its deadline, or by its caller."""
        if operation.overdue:
            self.fail(operation, overdue(operation.timeout_s))
        else:
            self.cancel(operation, Outcome.UNKNOWN)

    def cancel(self, operation: Operation, outcome: Outcome) -> None:
        """Its caller has cancelled it."""
        self._refuse(operation, cancelled(outcome))

    def abandon_all(self) -> Iterator[Operation]:
        """Nobody waits for an answer any more; each that was to have one."""
        abandoned, self._unanswered = self._unanswered, {}
        for operation in abandoned.values():
            operation.answered = True
            self._end(operation, cancelled(Outcome.UNKNOWN))
        yield from abandoned.values()

    def _refuse(self, operation: Operation, status: status_pb2.Status) -> None:
        if not operation.answered:
            operation.kind.tally.refused[status.code] += 1
        self._answer(operation, ERROR_TAG, status.SerializeToString(), status)

    def _answer(
        self, operation: Operation, tag: bytes, reply: bytes, status: status_pb2.Status | None
    ) -> None:
        if operation.answered:
            return
        operation.answered = True
        if operation.waiting is not None:
            operation.waiting.release()
        del self._unanswered[operation.id]
        self._end(operation, status)
        self._outbox.put(operation.id, tag, reply)
        self._answered()

    def _end(self, operation: Operation, status: status_pb2.Status | None) -> None:
        operation.kind.tally.ended += 1
        if operation.begun is not None and self._observer is not None:
            self._observer.end(operation.begun, status)
