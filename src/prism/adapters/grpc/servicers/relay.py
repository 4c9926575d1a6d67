"""Operations on one key that a proxy relays as messages, without decoding their values.

The pattern behind the driver has a gateway too, which validates and knows the limits. So
the proxy only admits and counts such an operation: it has neither a task of its own nor a
conversion into values and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import perf_counter_ns

from google.protobuf.message import Message

from prism.adapters.grpc.servicers.operate import OnOutcome, Operation
from prism.adapters.wire.relay import RelayOperation
from prism.domain.admission import Admission, aborted_by_drain
from prism.domain.tallies import OperationTally


class RelayedOperation:
    """An operation in flight at a pattern, from being sent there to its end.

    It is the `Waiter` of the client's operation stream, which a future could be as well; but
    a future would report the outcome one step of the loop later.

    Raises:
        NotServing, Exhausted: admission refused the operation.
    """

    __slots__ = (
        "_admission",
        "_connection",
        "_give_up",
        "_on_outcome",
        "_operation",
        "_started_ns",
        "_tally",
    )

    def __init__(
        self,
        operation: Operation,
        on_outcome: OnOutcome,
        admission: Admission,
        tally: OperationTally,
    ) -> None:
        # These two are dropped at the end, because both refer to this object as well: what
        # is in no reference cycle needs no garbage collector.
        self._operation: Operation | None = operation
        self._give_up: Callable[[], None] | None = None
        self._on_outcome = on_outcome
        self._tally = tally
        self._admission = admission
        self._connection = admission.enter(self)
        self._started_ns = operation.waited_from_ns = perf_counter_ns()

    def send(self, relay: RelayOperation) -> bool:
        """Send the operation; False: the driver cannot relay it now, and it is not in flight."""
        operation = self._operation
        assert operation is not None
        message = operation.message
        # The pattern's server has no patterns, and another default timeout.
        if message.pattern:
            message.pattern = ""
        if not message.timeout_ms:
            message.timeout_ms = int(operation.timeout_s * 1000) or 1
        try:
            self._give_up = give_up = relay(operation.kind.method.field, message, self)
        except BaseException:
            self._withdraw()
            raise
        if give_up is None:
            self._withdraw()
            return False
        return True

    def done(self) -> bool:
        return self._operation is None

    def set_result(self, reply: Message) -> None:
        self._end(reply, None)

    def set_exception(self, error: Exception) -> None:
        self._end(None, error)

    def cancel(self) -> bool:
        """Give the operation up; return whether it was in flight."""
        return self._stop(asyncio.CancelledError())

    def abort(self) -> None:
        self._stop(aborted_by_drain())

    def _withdraw(self) -> None:
        self._operation = None
        self._admission.leave(self, self._connection)

    def _stop(self, reason: BaseException) -> bool:
        if self._operation is None or self._give_up is None:
            return False
        self._give_up()
        self._end(None, reason)
        return True

    def _end(self, reply: Message | None, error: BaseException | None) -> None:
        operation = self._operation
        assert operation is not None
        self._operation = self._give_up = None
        self._tally.durations.add(perf_counter_ns() - self._started_ns)
        if error is not None:
            self._tally.failed[type(error)] += 1
        self._admission.leave(self, self._connection)
        self._on_outcome(operation, reply, error)
