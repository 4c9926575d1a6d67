"""The operations of one stream, from being read to being answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from time import perf_counter_ns
from typing import Any

from google.protobuf.message import Message
from google.rpc import status_pb2

from prism.adapters.grpc.calls import CallObserver, encode, rejection_of
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.deadline import rest_within
from prism.adapters.grpc.servicers.operate.bounds import Bounds
from prism.adapters.grpc.servicers.operate.kinds import Kind
from prism.adapters.grpc.servicers.operate.operation import Operation, Waiting
from prism.adapters.grpc.servicers.operate.outcomes import ERROR_TAG, FRAMING_BYTES, Outbox
from prism.adapters.grpc.servicers.operate.refusals import cancelled, name_of
from prism.adapters.grpc.servicers.operate.turns import Turns
from prism.adapters.grpc.servicers.operate.workers import Workers
from prism.adapters.grpc.status import status_of
from prism.domain.admission import Admission, place
from prism.ports import BackendTimeout, NotServing, Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb


class Operations:
    """Runs operations, those on one key in the order read, and answers each once.

    Args:
        outbox: takes the outcomes.
        answered: called after each.
    """

    def __init__(
        self,
        kinds: Mapping[str, Kind],
        admission: Admission,
        context: CallContext,
        bounds: Bounds,
        observer: CallObserver | None,
        *,
        outbox: Outbox,
        answered: Callable[[], None],
    ) -> None:
        self._kinds = kinds
        self._admission = admission
        self._context = context
        self._default_timeout_s = bounds.default_timeout_s
        self._max_reply_bytes = bounds.max_message_bytes - FRAMING_BYTES
        self._log = bounds.log
        self._observer = observer
        self._outbox = outbox
        self._answered = answered
        self._loop = asyncio.get_running_loop()
        self._incoming: deque[pb.Operation] = deque()
        self._ready: deque[Operation] = deque()
        self._unanswered: dict[int, Operation] = {}
        self._turns = Turns()
        self._workers = Workers(self)

    def __bool__(self) -> bool:
        """Whether there is anything to answer."""
        return bool(self._unanswered or self._incoming)

    @property
    def backlog(self) -> int:
        return len(self._ready) + len(self._incoming)

    def add(self, messages: Iterable[pb.Operation]) -> None:
        """Some more."""
        self._incoming.extend(messages)
        self._workers.staff()

    def cancel(self, ids: Iterable[int]) -> None:
        """Give some up; each is still answered. Ids that are not known are ignored."""
        while self._incoming:
            operation = self._receive(self._incoming.popleft())
            if operation is not None:
                self._ready.append(operation)
        for identity in ids:
            given_up = self._unanswered.get(identity)
            if given_up is None:
                continue
            if given_up.task is None:
                self._answer_status(given_up, cancelled(Outcome.NOT_APPLIED))
            else:
                given_up.task.cancel()

    def close(self) -> None:
        """Nobody waits for what is unanswered."""
        self._workers.close()
        self._incoming.clear()
        self._ready.clear()
        for operation in self._unanswered.values():
            operation.answered = True
            if operation.waiting is not None:
                operation.waiting.release()
            self._end(operation, cancelled(Outcome.UNKNOWN))
        self._unanswered.clear()

    def take(self) -> Operation | None:
        if self._ready:
            return self._ready.popleft()
        # Not before a worker is here: most of what is ahead of it on its key is over
        # by then, and it does not have to queue up.
        incoming = self._incoming
        while incoming:
            operation = self._receive(incoming.popleft())
            if operation is not None:
                return operation
        return None

    def begin(self, operation: Operation) -> Awaitable[None] | None:
        waiting = operation.waiting
        if operation.answered:
            self._leave(operation)
            return None
        if waiting is not None:
            self._begin_late(operation, waiting)
        if self._observer is not None:
            self._observer.resume(operation.begun)
        work = operation.kind.handler(operation.request, operation)
        try:
            waits_for = work.send(None)
        except StopIteration as done:
            self._answer_reply(operation, done.value)
        except asyncio.CancelledError:
            self._answer_status(operation, cancelled(Outcome.UNKNOWN))
        except Exception as error:
            self._fail(operation, error)
        else:
            return self._finish(operation, work, waits_for)
        finally:
            if waiting is not None:
                # It may have been refused before the gateway came to its place.
                place.set(None)
        self._leave(operation)
        return None

    def _receive(self, message: pb.Operation) -> Operation | None:
        """Take one in; the operation when its turn is at once."""
        try:
            name = name_of(message, self._unanswered)
        except PrismError as refusal:
            self._outbox.put(message.id, ERROR_TAG, status_of(refusal).SerializeToString())
            self._answered()
            return None
        kind = self._kinds[name]
        seconds = message.timeout_ms / 1000 or self._default_timeout_s
        operation = Operation(message, kind, getattr(message, name), self._context, seconds)
        self._unanswered[operation.id] = operation
        kind.tally.started += 1
        if self._observer is not None:
            operation.begun = self._observer.begin(kind.path, operation)
        if self._turns.take(operation):
            return operation
        self._wait(operation)
        return None

    def _wait(self, operation: Operation) -> None:
        """In flight from now on, though it cannot begin before its turn."""
        try:
            held = self._admission.reserve(
                lambda: self._fail(
                    operation,
                    NotServing("aborted: it had not begun when the time to drain was over"),
                )
            )
        except PrismError as refusal:
            self._fail(operation, refusal)
            return
        deadline = self._loop.time() + operation.timeout_s
        timer = self._loop.call_at(deadline, self._expire, operation)
        operation.waiting = Waiting(held, deadline, timer)
        operation.waited_from_ns = perf_counter_ns()

    def _expire(self, operation: Operation) -> None:
        self._fail(
            operation,
            BackendTimeout(
                "the deadline passed before its turn came: operations on its keys were ahead",
                outcome=Outcome.NOT_APPLIED,
            ),
        )

    def _begin_late(self, operation: Operation, waiting: Waiting) -> None:
        """The place in admission is for the gateway to take up."""
        place.set(waiting.place)
        waiting.timer.cancel()
        operation.timeout_s = max(waiting.deadline - self._loop.time(), 0.0)

    async def _finish(
        self, operation: Operation, work: Coroutine[Any, Any, Message], waits_for: Any
    ) -> None:
        if not operation.waited_from_ns:
            operation.waited_from_ns = perf_counter_ns()
        try:
            reply = await rest_within(operation.timeout_s, work, waits_for)
        except asyncio.CancelledError:
            self._answer_status(operation, cancelled(Outcome.UNKNOWN))
        except Exception as error:
            self._fail(operation, error)
        else:
            self._answer_reply(operation, reply)
        self._leave(operation)

    def _leave(self, operation: Operation) -> None:
        if ready := self._turns.leave(operation):
            self._ready.extend(ready)
            self._workers.staff(free=1)

    def _answer_reply(self, operation: Operation, reply: Message) -> None:
        if operation.waited_from_ns and not operation.answered:
            self._log.succeeded(operation.kind.path, operation.waited_from_ns)
        try:
            data = encode(reply, self._max_reply_bytes)
        except PrismError as refusal:
            self._fail(operation, refusal)
        else:
            self._answer(operation, operation.kind.tag, data, None)

    def _fail(self, operation: Operation, error: Exception) -> None:
        status = rejection_of(error).status
        if not operation.answered:
            self._log.failed(operation.kind.path, status, error, operation.waited_from_ns)
        self._answer_status(operation, status)

    def _answer_status(self, operation: Operation, status: status_pb2.Status) -> None:
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
        if self._observer is not None:
            self._observer.end(operation.begun, status)
