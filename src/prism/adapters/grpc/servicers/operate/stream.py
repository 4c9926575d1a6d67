"""One Operate call: operations in, outcomes out in the order of completion."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from time import perf_counter, perf_counter_ns

from google.protobuf.message import Message

from prism.adapters.grpc.calls import CallObserver
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.element_limits import MAX_ELEMENTS
from prism.adapters.grpc.servicers.operate.operation import (
    Operation,
    OperationKind,
    OperationRelay,
    Route,
    Router,
    StreamLimits,
    Waiting,
)
from prism.adapters.grpc.servicers.operate.responses import EncodedResponse, Outbox, Responder
from prism.adapters.grpc.servicers.operate.scheduling import KeyQueues, LongOperations
from prism.domain.admission import Admission, reservation
from prism.domain.deadline import Deadlines, rest_of
from prism.domain.turns import SHARE_S
from prism.domain.workers import Workers
from prism.ports import BackendTimeout, Exhausted, InvalidArgument, NotServing, Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb

_MIN_PER_TURN, _MAX_PER_TURN = 32, 256
"""Operations that one turn of the loop begins: a message can hold a hundred thousand. Those
of a smaller message are begun in several turns too, so that its caller reads the first
outcomes, and sends more, while the last operations are still running."""

_MAX_QUEUED = 1024
"""Operations that are read while the stream waits for its turn."""

_MAX_AHEAD_BYTES = 256 << 10
"""Messages that are read while the caller does not read its outcomes: some, for they may
cancel the operations that it does not need any more, such as those of a proxy's callers
that have gone."""


class OperateCall:
    """Serves one stream of operations.

    The stream ends when the caller has half-closed it and all operations are answered, or
    when admission closes and all operations that were read are answered. The status then
    tells the caller that no operation that was not read has begun.
    """

    def __init__(
        self,
        kinds: Mapping[str, OperationKind],
        admission: Admission,
        context: CallContext,
        limits: StreamLimits,
        observer: CallObserver | None,
        router: Router,
    ) -> None:
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._connection = context.connection
        self._outbox = Outbox(limits.max_message_bytes, admission.unread, context.connection)
        self._runner = StreamRunner(
            kinds,
            admission,
            context,
            limits,
            observer,
            router,
            outbox=self._outbox,
            answered=self._wake,
        )
        self._change: asyncio.Future[None] | None = None
        self._outbox_drained: asyncio.Future[None] | None = None

    async def outcomes(
        self, requests: AsyncIterator[pb.OperateRequest]
    ) -> AsyncIterator[EncodedResponse]:
        """Yield outcomes as they come, many to a message.

        Raises:
            NotServing: admission is closed.
            PrismError: a message was malformed; all operations before it are answered.
        """
        reading = asyncio.create_task(self._read(requests))
        reading.add_done_callback(lambda _: self._wake())
        self._admission.on_close(self._wake)
        try:
            # grpcio's iterator of requests must have been asked once, or it complains.
            await asyncio.sleep(0)
            while True:
                # All outcomes of the turn that woke this task are sent at once.
                while self._outbox:
                    was_full = self._outbox.full
                    message = self._outbox.take()
                    if was_full and not self._outbox.full:
                        self._resume()
                    yield message
                if not self._runner:
                    if reading.done():
                        reading.result()
                        return
                    self._admission.check_open()
                self._change = self._loop.create_future()
                await self._change
        finally:
            self._admission.remove_on_close(self._wake)
            reading.cancel()
            # The task may hold an error, whose traceback holds this frame: without the cycle
            # a refused message is freed at once.
            del reading
            self._runner.close()
            self._outbox.close()

    async def _read(self, requests: AsyncIterator[pb.OperateRequest]) -> None:
        # Bytes of messages read while the outbox was full.
        ahead = 0
        async for request in requests:
            operations = request.operations
            if len(request.cancel_ids) > MAX_ELEMENTS:
                raise Exhausted(
                    f"{len(request.cancel_ids):,} operations are cancelled in one message; "
                    f"the limit is {MAX_ELEMENTS:,}"
                )
            count = min(max(len(operations) // 4, _MIN_PER_TURN), _MAX_PER_TURN)
            for begin in range(0, len(operations), count):
                if begin:
                    await asyncio.sleep(0)
                while self._runner.is_behind:
                    await self._admission.turns.wait(self._connection)
                self._runner.add(operations[begin : begin + count])
            if request.cancel_ids:
                if not self._admission.turns.has_time():
                    await self._admission.turns.wait(self._connection)
                self._runner.cancel(request.cancel_ids)
            ahead = ahead + request.ByteSize() if self._outbox.full else 0
            while ahead > _MAX_AHEAD_BYTES and self._outbox.full:
                self._outbox_drained = self._loop.create_future()
                await self._outbox_drained

    def _wake(self) -> None:
        change = self._change
        if change is not None:
            self._change = None
            if not change.done():
                change.set_result(None)

    def _resume(self) -> None:
        self._runner.resume()
        drained = self._outbox_drained
        if drained is not None and not drained.done():
            drained.set_result(None)


class StreamRunner:
    """Runs the operations of one stream; those on one key take effect in the order read.

    Args:
        outbox: receives the outcomes.
        answered: called after each outcome.
    """

    def __init__(
        self,
        kinds: Mapping[str, OperationKind],
        admission: Admission,
        context: CallContext,
        limits: StreamLimits,
        observer: CallObserver | None,
        router: Router,
        *,
        outbox: Outbox,
        answered: Callable[[], None],
    ) -> None:
        self._kinds = kinds
        self._admission = admission
        self._context = context
        self._default_timeout_s = limits.default_timeout_s
        self._observer = observer
        self._router = router
        # The relay to the downstream that the last operation went to, for most of the next ones.
        self._downstream: object | None = None
        self._relay: OperationRelay | None = None
        # For operations that name no pattern themselves.
        self._default_route = router.route_of(context.pattern)
        self._outbox = outbox
        self._responder = Responder(limits, observer, outbox, answered)
        self._loop = asyncio.get_running_loop()
        self._incoming: deque[pb.Operation] = deque()
        self._ready: deque[Operation] = deque()
        self._long = LongOperations()
        self._queues = KeyQueues()
        self._deadlines = Deadlines(self._loop)
        self._workers = Workers(self)
        self._turns = admission.turns
        # With its turn, the stream gets one slice of time.
        self._waits_for_turn = False
        self._has_turn = False
        self._slice_ends = 0.0

    def __bool__(self) -> bool:
        """Whether any operation is unanswered."""
        return bool(self._responder or self._incoming)

    @property
    def backlog(self) -> int:
        return 0 if self._outbox.full or self._waits_for_turn else self._queued

    @property
    def is_behind(self) -> bool:
        """Whether so many operations wait for the turn of the stream that no more are read."""
        return self._waits_for_turn and self._queued > _MAX_QUEUED

    @property
    def _queued(self) -> int:
        return len(self._ready) + len(self._incoming) + len(self._long)

    def resume(self) -> None:
        """Begin operations again, after the outbox was full."""
        self._workers.ensure_workers()

    def add(self, messages: Iterable[pb.Operation]) -> None:
        """Run more operations."""
        self._incoming.extend(messages)
        self._workers.ensure_workers()

    def cancel(self, ids: Iterable[int]) -> None:
        """Give up operations, which are still answered; unknown ids are ignored."""
        while self._incoming:
            # They do not begin in this step, so no downstream orders them.
            operation = self._accept(self._incoming.popleft())
            if operation is None:
                continue
            if self._queues.enter(operation):
                self._ready.append(operation)
            else:
                self._wait(operation)
        for identity in ids:
            given_up = self._responder.get(identity)
            if given_up is None:
                continue
            if given_up.task is None:
                self._responder.cancel(given_up, Outcome.NOT_APPLIED)
            else:
                given_up.task.cancel()

    def close(self) -> None:
        """Give up all operations without answers, because the caller has gone."""
        self._workers.close()
        self._deadlines.close()
        self._incoming.clear()
        self._ready.clear()
        self._long.clear()
        # It refers to this object.
        self._relay = self._downstream = None
        for operation in self._responder.abandon_all():
            if operation.waiting is not None:
                operation.waiting.release()
                operation.waiting = None
            if operation.task is not None:
                operation.task.cancel()

    def step(self, task: asyncio.Task[None]) -> Awaitable[None] | None:
        if self._has_turn:
            self._has_turn = False
        elif not self._turns.has_time():
            self._wait_for_turn()
            return None
        ends = self._slice_ends = perf_counter() + SHARE_S
        while (operation := self._take()) is not None:
            rest = self._begin(operation)
            if rest is not None:
                operation.task = task
                return rest
            if perf_counter() > ends:
                self._give_way()
        return None

    def _give_way(self) -> None:
        """Begin nothing more in this turn if the slice of time is used up."""
        if perf_counter() > self._slice_ends and not self._turns.has_time():
            self._wait_for_turn()

    def _wait_for_turn(self) -> None:
        """Begin nothing before a later turn of the loop, when other callers have had theirs."""
        if self.backlog:
            self._waits_for_turn = True
            expected_s = SHARE_S if self._queued > _MIN_PER_TURN else 0
            self._turns.wake_later(self._context.connection, self._take_turn, expected_s=expected_s)

    def _take_turn(self) -> None:
        self._waits_for_turn = False
        if self.backlog:
            self._has_turn = True
            self._workers.ensure_workers()

    def _take(self) -> Operation | None:
        """Return the next operation to begin; those before it that can be relayed are."""
        if self._outbox.full or self._waits_for_turn:
            # Nothing begins before the caller reads (`resume`), or has its turn.
            return None
        long = self._long
        if long and long.is_due():
            return long.popleft()
        if self._ready:
            return self._ready.popleft()
        # Messages are accepted only now, by a worker: by then most operations ahead on the
        # same keys have ended, and this one does not have to wait for them.
        incoming = self._incoming
        route: Route | None = None
        ordered_by: object | None = None
        while incoming and not self._waits_for_turn:
            operation = self._accept(incoming.popleft())
            if operation is None:
                self._give_way()
                continue
            if operation.kind.is_long:
                if self._queues.enter(operation):
                    long.append(operation)
                else:
                    self._wait(operation)
                continue
            if operation.route is not route:
                # The value holds for this step of the loop.
                route = operation.route
                ordered_by = route.ordered_by
            operation.ordered_by = ordered_by
            if not self._queues.lets_begin(operation):
                self._queues.enter(operation)
                self._wait(operation)
            elif ordered_by is None or not self._relays(operation, ordered_by):
                return operation
            elif long and long.is_due():
                return long.popleft()
            else:
                self._give_way()
        return long.popleft() if long and not self._waits_for_turn else None

    def _begin(self, operation: Operation) -> Awaitable[None] | None:
        waiting = operation.waiting
        if operation.answered:
            self._leave(operation)
            return None
        if self._observer is not None:
            self._observer.resume(operation.observed)
        if waiting is not None:
            self._begin_late(operation, waiting)
        reply: Message | None = None
        try:
            work = operation.kind.handler(operation.request, operation)
            waits_for = work.send(None)
        except StopIteration as done:
            # Answered below: an error made here would refer to this one, and so to the reply.
            reply = done.value
        except asyncio.CancelledError:
            self._responder.cancel(operation, Outcome.UNKNOWN)
        except Exception as error:
            self._responder.fail(operation, error)
        else:
            if not operation.is_queued:
                # It goes on: later operations on its keys come behind it.
                self._queues.enter(operation)
            return self._finish(operation, work, waits_for)
        finally:
            if waiting is not None:
                # The operation may have been refused before the gateway claimed the reservation.
                reservation.set(None)
        if reply is not None:
            self._responder.reply(operation, reply)
        if operation.is_queued:
            self._leave(operation)
        return None

    def _accept(self, message: pb.Operation) -> Operation | None:
        """Make an operation that is to be answered; None: it was refused."""
        name = message.WhichOneof("operation")
        identity = message.id
        if name is None or self._responder.get(identity) is not None:
            self._responder.refuse(identity, _invalid(message))
            return None
        pattern = message.pattern
        try:
            route = self._router.route_of(pattern) if pattern else self._default_route
        except PrismError as refusal:
            self._responder.refuse(identity, refusal)
            return None
        kind, request = self._kinds[name], getattr(message, name)
        timeout_s = message.timeout_ms / 1000 or self._default_timeout_s
        operation = Operation(identity, message, kind, request, self._context, route, timeout_s)
        self._responder.expect(operation)
        return operation

    def _wait(self, operation: Operation) -> None:
        """Admit an operation that cannot begin yet; it counts as in flight."""
        try:
            held = self._admission.reserve(
                lambda: self._responder.fail(
                    operation,
                    NotServing("aborted: not begun at the end of the drain timeout"),
                )
            )
        except PrismError as refusal:
            self._responder.fail(operation, refusal)
            return
        deadline = self._loop.time() + operation.timeout_s
        timer = self._loop.call_at(deadline, self._expire, operation)
        operation.waiting = Waiting(held, deadline, timer)
        operation.waited_from_ns = perf_counter_ns()

    def _expire(self, operation: Operation) -> None:
        self._responder.fail(
            operation,
            BackendTimeout(
                "the deadline passed while earlier operations on its keys were in progress",
                outcome=Outcome.NOT_APPLIED,
            ),
        )

    def _begin_late(self, operation: Operation, waiting: Waiting) -> None:
        """Begin an operation that has waited; the gateway claims its reservation."""
        reservation.set(waiting.reservation)
        waiting.timer.cancel()
        # It refers to the operation, which would be in a cycle.
        operation.waiting = None
        operation.timeout_s = max(waiting.deadline - self._loop.time(), 0.0)

    def _relays(self, operation: Operation, downstream: object) -> bool:
        """Relay the operation if possible; return whether nothing is left to do here."""
        if self._observer is not None:
            # What it observes inside the port calls would be missing.
            if operation.observed is not None and self._observer.follows(operation.observed):
                return False
            self._observer.resume(operation.observed)
        if downstream is not self._downstream:
            self._downstream = downstream
            self._relay = self._router.relay_to(downstream, self)
        if self._relay is None:
            return False
        try:
            relayed = self._relay.send(operation)
        except Exception as error:
            self._responder.fail(operation, error)
            return True
        if relayed is None:
            return False
        self._queues.append(operation)
        operation.task = relayed
        self._deadlines.watch(operation)
        return True

    def relayed(
        self,
        outcomes: Sequence[tuple[Operation, pb.OperationOutcome]],
        response: pb.OperateResponse | None,
    ) -> None:
        self._responder.reply_encoded(outcomes, response)
        ready: list[Operation] = []
        for operation, _ in outcomes:
            self._deadlines.forget(operation)
            # As `_leave` does, once for all.
            operation.task = None
            ready += self._queues.leave(operation)
        if ready:
            self._ready.extend(ready)
            self._workers.ensure_workers()

    def relay_failed(self, operation: Operation, error: BaseException) -> None:
        if isinstance(error, Exception):
            self._responder.fail(operation, error)
        else:
            self._responder.give_up(operation)
        self._deadlines.forget(operation)
        # No worker runs this, so none is free to take the operations that become ready.
        self._leave(operation, free=0)

    async def _finish(
        self, operation: Operation, work: Coroutine[object, None, Message], waits_for: object
    ) -> None:
        if not operation.waited_from_ns:
            operation.waited_from_ns = perf_counter_ns()
        self._deadlines.watch(operation)
        try:
            reply = await rest_of(work, waits_for)
        except asyncio.CancelledError:
            self._responder.give_up(operation)
        except Exception as error:
            self._responder.fail(operation, error)
        else:
            self._responder.reply(operation, reply)
        self._deadlines.forget(operation)
        self._leave(operation)

    def _leave(self, operation: Operation, *, free: int = 1) -> None:
        # The task refers to the operation too: without this cycle neither needs a collector.
        operation.task = None
        if ready := self._queues.leave(operation):
            self._ready.extend(ready)
            self._workers.ensure_workers(free=free)


def _invalid(operation: pb.Operation) -> InvalidArgument:
    """Return why a message is not an operation: its kind is unknown, or its id is in use."""
    if operation.WhichOneof("operation") is None:
        return InvalidArgument("the operation is unset, or not known to this server")
    return InvalidArgument(f"the id {operation.id} is that of an unanswered operation")
