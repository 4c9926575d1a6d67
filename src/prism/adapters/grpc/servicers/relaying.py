"""Operations on one key, handed on as they came where a driver can do that.

What is behind such a driver is a gateway too: it validates, and knows the limits. So all
that an operation needs here is a place and a count, and neither a task of its own nor a
change into values and back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any, Protocol

from prism.adapters.grpc.servicers.operate import Operation, Tell
from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.tallies import OperationTallies, OperationTally
from prism.ports import NotServing, Outcome

TallyOf = Callable[[OperationTallies, Any], OperationTally]

RELAYED: Mapping[str, TallyOf] = {
    "get": lambda tallies, _: tallies["get"],
    "set": lambda tallies, request: (
        tallies["compare_and_set"]
        if request.if_absent or request.HasField("if_version")
        else tallies["set"]
    ),
    "delete": lambda tallies, request: (
        tallies["compare_and_delete"] if request.HasField("if_version") else tallies["delete"]
    ),
    "exists": lambda tallies, _: tallies["exists"],
    "expire": lambda tallies, _: tallies["expire"],
    "persist": lambda tallies, _: tallies["persist"],
    "get_ttl": lambda tallies, _: tallies["ttl"],
    "increment": lambda tallies, _: tallies["increment"],
}
"""By operation, where it is counted. Batches and scans have limits and tokens of ours."""


class Relay:
    """An operation that somebody else works on, from being handed on to its end.

    The driver tells it the outcome as if it were a future; but a future would pass that on
    through the loop, a step later.

    Raises:
        NotServing, Exhausted: it is not let in.
    """

    __slots__ = (
        "_admission",
        "_begun_ns",
        "_connection",
        "_give_up",
        "_operation",
        "_tally",
        "_tell",
    )

    def __init__(
        self, operation: Operation, tell: Tell, admission: Admission, tally: OperationTally
    ) -> None:
        # These are let go at the end, since both refer to this as well: what is in no
        # circle needs no collector.
        self._operation: Operation | None = operation
        self._give_up: Callable[[], None] | None = None
        self._tell = tell
        self._tally = tally
        self._admission = admission
        self._connection = admission.enter(self)
        self._begun_ns = operation.waited_from_ns = perf_counter_ns()

    def begin(self, hand_on: HandOn) -> bool:
        """Whether the driver takes it; else it has never been here."""
        operation = self._operation
        assert operation is not None
        message = operation.message
        # Whoever serves it has no patterns, and another default.
        if message.pattern:
            message.pattern = ""
        if not message.timeout_ms:
            message.timeout_ms = int(operation.timeout_s * 1000) or 1
        try:
            self._give_up = give_up = hand_on(operation.kind.name, message, self)
        except BaseException:
            self._never_was()
            raise
        if give_up is None:
            self._never_was()
            return False
        return True

    def done(self) -> bool:
        return self._operation is None

    def set_result(self, reply: Any) -> None:
        self._end(reply, None)

    def set_exception(self, error: Exception) -> None:
        self._end(None, error)

    def cancel(self) -> bool:
        """Give it up, if it has not ended; whether it was so."""
        return self._stop(asyncio.CancelledError())

    def abort(self) -> None:
        self._stop(
            NotServing(
                "aborted: it was still in flight when the time to drain was over",
                outcome=Outcome.UNKNOWN,
            )
        )

    def _never_was(self) -> None:
        self._operation = None
        self._admission.leave(self, self._connection)

    def _stop(self, reason: BaseException) -> bool:
        if self._operation is None or self._give_up is None:
            return False
        self._give_up()
        self._end(None, reason)
        return True

    def _end(self, reply: Any, error: BaseException | None) -> None:
        operation = self._operation
        assert operation is not None
        self._operation = self._give_up = None
        self._tally.add(perf_counter_ns() - self._begun_ns)
        if error is not None:
            self._tally.failed[type(error)] += 1
        self._admission.leave(self, self._connection)
        self._tell(operation, reply, error)


class HandOn(Protocol):
    """What such a driver has under the name `relay`."""

    def __call__(self, operation: str, request: Any, caller: Relay, /) -> Callable[[], None] | None:
        """Hand one on.

        Args:
            operation: as a stream calls it.
            caller: is told the outcome, once.

        Returns:
            What gives it up; None: this one has to be asked for by the ports.
        """
        ...


def hand_on_of(gateway: Gateway) -> HandOn | None:
    """How its driver does it, if it does."""
    found: HandOn | None = getattr(gateway.driver, "relay", None)
    return found
