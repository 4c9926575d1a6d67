"""The operations of one stream, from being read to being answered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from time import perf_counter_ns
from typing import Any

from google.protobuf.message import Message

from prism.adapters.grpc.calls import CallObserver
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.deadline import rest_of
from prism.adapters.grpc.servicers.operate.answers import Answers
from prism.adapters.grpc.servicers.operate.bounds import Bounds
from prism.adapters.grpc.servicers.operate.deadlines import Deadlines
from prism.adapters.grpc.servicers.operate.destinations import Destinations
from prism.adapters.grpc.servicers.operate.kinds import Kind
from prism.adapters.grpc.servicers.operate.operation import Operation, Waiting
from prism.adapters.grpc.servicers.operate.outcomes import Outbox
from prism.adapters.grpc.servicers.operate.refusals import unusable
from prism.adapters.grpc.servicers.operate.turns import Turns
from prism.adapters.grpc.servicers.operate.workers import Workers
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
        destinations: Destinations,
        *,
        outbox: Outbox,
        answered: Callable[[], None],
    ) -> None:
        self._kinds = kinds
        self._admission = admission
        self._context = context
        self._default_timeout_s = bounds.default_timeout_s
        self._observer = observer
        self._destinations = destinations
        self._relay_handler = destinations.relay
        # Of the operations that name none themselves.
        self._destination = destinations.destination_of(context.pattern)
        self._answers = Answers(bounds, observer, outbox, answered)
        self._loop = asyncio.get_running_loop()
        self._incoming: deque[pb.Operation] = deque()
        self._ready: deque[Operation] = deque()
        self._turns = Turns()
        self._deadlines = Deadlines(self._loop)
        self._workers = Workers(self)

    def __bool__(self) -> bool:
        """Whether there is anything to answer."""
        return bool(self._answers or self._incoming)

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
            # They do not begin in this step, so nobody else keeps their order.
            operation = self._accept(self._incoming.popleft())
            if operation is None:
                continue
            if self._turns.take(operation):
                self._ready.append(operation)
            else:
                self._wait(operation)
        for identity in ids:
            given_up = self._answers.get(identity)
            if given_up is None:
                continue
            if given_up.task is None:
                self._answers.cancel(given_up, Outcome.NOT_APPLIED)
            else:
                given_up.task.cancel()

    def close(self) -> None:
        """Nobody waits for what is unanswered."""
        self._workers.close()
        self._deadlines.close()
        self._incoming.clear()
        self._ready.clear()
        for operation in self._answers.abandon_all():
            if operation.waiting is not None:
                operation.waiting.release()
            if operation.task is not None:
                operation.task.cancel()

    def take(self) -> Operation | None:
        if self._ready:
            return self._ready.popleft()
        # Not before a worker is here: most of what is ahead of it on its key is over
        # by then, and it does not have to queue up.
        incoming = self._incoming
        while incoming:
            operation = self._accept(incoming.popleft())
            if operation is None:
                continue
            operation.keeper = operation.destination.keeper
            if self._turns.take(operation):
                return operation
            self._wait(operation)
        return None

    def begin(self, operation: Operation) -> Awaitable[None] | None:
        waiting = operation.waiting
        if operation.answered:
            self._leave(operation)
            return None
        if self._observer is not None:
            self._observer.resume(operation.begun)
        if waiting is not None:
            self._begin_late(operation, waiting)
        elif self._relay(operation):
            return None
        try:
            work = operation.kind.handler(operation.request, operation)
            waits_for = work.send(None)
        except StopIteration as done:
            self._answers.reply(operation, done.value)
        except asyncio.CancelledError:
            self._answers.cancel(operation, Outcome.UNKNOWN)
        except Exception as error:
            self._answers.fail(operation, error)
        else:
            return self._finish(operation, work, waits_for)
        finally:
            if waiting is not None:
                # It may have been refused before the gateway came to its place.
                place.set(None)
        self._leave(operation)
        return None

    def _accept(self, message: pb.Operation) -> Operation | None:
        """What is to be answered from now on; None: it was refused."""
        name = message.WhichOneof("operation")
        identity = message.id
        if name is None or self._answers.get(identity) is not None:
            self._answers.refuse(identity, unusable(message))
            return None
        named = message.pattern
        try:
            destination = self._destinations.destination_of(named) if named else self._destination
        except PrismError as refusal:
            self._answers.refuse(identity, refusal)
            return None
        kind, request = self._kinds[name], getattr(message, name)
        timeout_s = message.timeout_ms / 1000 or self._default_timeout_s
        operation = Operation(
            identity, message, kind, request, self._context, destination, timeout_s
        )
        self._answers.expect(operation)
        return operation

    def _wait(self, operation: Operation) -> None:
        """In flight from now on, though it cannot begin before its turn."""
        try:
            held = self._admission.reserve(
                lambda: self._answers.fail(
                    operation,
                    NotServing("aborted: it had not begun when the time to drain was over"),
                )
            )
        except PrismError as refusal:
            self._answers.fail(operation, refusal)
            return
        deadline = self._loop.time() + operation.timeout_s
        timer = self._loop.call_at(deadline, self._expire, operation)
        operation.waiting = Waiting(held, deadline, timer)
        operation.waited_from_ns = perf_counter_ns()

    def _expire(self, operation: Operation) -> None:
        self._answers.fail(
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

    def _is_followed(self, operation: Operation) -> bool:
        """What is done for it is to be seen, so that it has to be done by the ports."""
        begun, observer = operation.begun, self._observer
        return begun is not None and observer is not None and observer.follows(begun)

    def _relay(self, operation: Operation) -> bool:
        """Whether it needs nothing more until it is answered."""
        relay = self._relay_handler
        if relay is None or self._is_followed(operation):
            return False
        try:
            relayed = relay(operation, self._relayed)
        except Exception as error:
            self._answers.fail(operation, error)
            self._leave(operation)
            return True
        if relayed is None:
            return False
        operation.task = relayed
        self._deadlines.watch(operation)
        return True

    def _relayed(self, operation: Operation, reply: Any, error: BaseException | None) -> None:
        self._deadlines.forget(operation)
        if error is None:
            self._answers.reply(operation, reply)
        elif isinstance(error, Exception):
            self._answers.fail(operation, error)
        else:
            self._answers.give_up(operation)
        # No worker brought this, so none goes on with what it made ready.
        self._leave(operation, free=0)

    async def _finish(
        self, operation: Operation, work: Coroutine[Any, Any, Message], waits_for: Any
    ) -> None:
        if not operation.waited_from_ns:
            operation.waited_from_ns = perf_counter_ns()
        self._deadlines.watch(operation)
        try:
            reply = await rest_of(work, waits_for)
        except asyncio.CancelledError:
            self._answers.give_up(operation)
        except Exception as error:
            self._answers.fail(operation, error)
        else:
            self._answers.reply(operation, reply)
        self._deadlines.forget(operation)
        self._leave(operation)

    def _leave(self, operation: Operation, *, free: int = 1) -> None:
        # Whoever worked on it knows it too: neither shall need a collector to be freed.
        operation.task = None
        if ready := self._turns.leave(operation):
            self._ready.extend(ready)
            self._workers.staff(free=free)
