"""Operations on one key that a proxy relays as messages, without decoding their values.

The pattern behind the driver has a gateway too, which validates and knows the limits. So
the proxy only admits and counts such an operation: it has neither a task of its own nor a
conversion into values and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter_ns
from typing import cast

from prism.adapters.grpc.servicers.operate import Operation, RelayedOutcomes
from prism.adapters.wire.relay import Relay, Relayed, RelayedOutcome
from prism.adapters.wire.status import error_of
from prism.domain.access.guarded_gateway import GuardedGateway
from prism.domain.admission import Admission, aborted_by_drain
from prism.domain.tallies import OperationTallies, OperationTally
from prism.ports import Internal
from prism.v1 import keyvalue_pb2 as pb


class StreamRelay:
    """Relays operations of one stream to one pattern: an `OperationRelay`, and their sink.

    Args:
        relay: carries the operations to the pattern.
        guard: decides which operations the caller may do; None: all.
        door: admission of the proxy; that of the pattern's gateway counts what is in flight.
        outcomes: takes the outcomes for the stream.
    """

    def __init__(
        self,
        relay: Relay,
        guard: GuardedGateway | None,
        door: Admission,
        admission: Admission,
        tallies: OperationTallies,
        outcomes: RelayedOutcomes,
    ) -> None:
        self._relay = relay
        self._guard = guard
        self._door = door
        self.admission = admission
        self._tallies = tallies
        self.outcomes = outcomes

    def send(self, operation: Operation) -> RelayedOperation | None:
        self._door.check_open()
        name = operation.kind.method.operation_of(operation.request)
        guard = self._guard
        if guard is not None and not guard.check_unchanged(name, operation.keys[0]):
            return None
        message = operation.message
        # The pattern's server has no patterns, and another default timeout.
        if message.pattern:
            message.pattern = ""
        if not message.timeout_ms:
            message.timeout_ms = int(operation.timeout_s * 1000) or 1
        relayed = RelayedOperation(operation, self, self._tallies[name])
        try:
            if self._relay.relay(message, relayed):
                return relayed
        except BaseException:
            relayed.withdraw()
            raise
        relayed.withdraw()
        return None

    def give_up(self, relayed: RelayedOperation) -> None:
        """Tell the pattern that nobody waits for the outcome."""
        self._relay.give_up(relayed)

    def arrived(
        self,
        outcomes: Sequence[RelayedOutcome],
        response: pb.OperateResponse | None,
    ) -> None:
        now_ns = perf_counter_ns()
        succeeded: list[tuple[Operation, pb.OperationOutcome]] = []
        own = cast("Sequence[tuple[RelayedOperation, pb.OperationOutcome]]", outcomes)
        for relayed, outcome in own:
            operation = relayed.operation
            assert operation is not None
            field = outcome.WhichOneof("outcome")
            if field == operation.kind.method.field:
                relayed.end(now_ns)
                outcome.id = operation.id
                succeeded.append((operation, outcome))
            elif field == "error":
                relayed.fail(error_of(outcome.error))
            else:
                asked = operation.kind.method.field
                relayed.fail(Internal(f"the server answered {asked} with {field}"))
        if succeeded:
            whole = response is not None and len(succeeded) == len(outcomes)
            self.outcomes.relayed(succeeded, response if whole else None)


class RelayedOperation(Relayed):
    """An operation in flight at a pattern, from being sent there to its end.

    Attributes:
        operation: the operation of the stream; None: it has ended.

    Raises:
        NotServing, Exhausted: admission refused the operation.
    """

    __slots__ = (
        "_connection",
        "_started_ns",
        "_stream",
        "_tally",
        "operation",
    )

    def __init__(self, operation: Operation, stream: StreamRelay, tally: OperationTally) -> None:
        self.id = 0
        self.written = False
        self.sink = stream
        # Dropped at the end, because it refers to this object as well: what is in no reference
        # cycle needs no garbage collector.
        self.operation: Operation | None = operation
        self._stream = stream
        self._tally = tally
        self._connection = stream.admission.enter(self)
        self._started_ns = operation.waited_from_ns = perf_counter_ns()

    def done(self) -> bool:
        return self.operation is None

    def end(self, now_ns: int) -> None:
        """Count the end of the operation."""
        self.operation = None
        self._tally.durations.add(now_ns - self._started_ns)
        self._stream.admission.leave(self, self._connection)

    def fail(self, error: BaseException) -> None:
        operation = self.operation
        if operation is not None:
            self._tally.failed[type(error)] += 1
            self.end(perf_counter_ns())
            self._stream.outcomes.relay_failed(operation, error)

    def cancel(self) -> bool:
        """Give the operation up; return whether it was in flight."""
        return self._stop(asyncio.CancelledError())

    def abort(self) -> None:
        self._stop(aborted_by_drain())

    def withdraw(self) -> None:
        """End an operation that was not sent."""
        self.operation = None
        self._stream.admission.leave(self, self._connection)

    def _stop(self, reason: BaseException) -> bool:
        if self.operation is None or not self.id:
            return False
        self._stream.give_up(self)
        self.fail(reason)
        return True
