"""Operations on one key, handed on as they came where a driver can do that.

What is behind such a driver is a gateway too: it validates, and knows the limits. So all
that an operation needs here is a place and a count, and neither a task of its own nor a
change into values and back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any, Protocol

from prism.adapters.grpc.servicers.operate import Relayed, Tell
from prism.domain.gateway import Gateway
from prism.domain.tallies import OperationTallies, OperationTally
from prism.ports import NotServing, Outcome


class HandOn(Protocol):
    """What such a driver has under the name `relay`."""

    def __call__(self, operation: str, request: Any, tell: Tell) -> Relayed | None:
        """Hand one on; None: this one has to be asked for by the ports.

        Args:
            operation: as a stream calls it.
            tell: is called once.
        """
        ...


TallyOf = Callable[[OperationTallies, Any], OperationTally]

RELAYED: Mapping[str, TallyOf] = {
    "get": lambda tallies, _: tallies.get,
    "set": lambda tallies, request: (
        tallies.compare_and_set
        if request.if_absent or request.HasField("if_version")
        else tallies.set
    ),
    "delete": lambda tallies, request: (
        tallies.compare_and_delete if request.HasField("if_version") else tallies.delete
    ),
    "exists": lambda tallies, _: tallies.exists,
    "expire": lambda tallies, _: tallies.expire,
    "persist": lambda tallies, _: tallies.persist,
    "get_ttl": lambda tallies, _: tallies.ttl,
    "increment": lambda tallies, _: tallies.increment,
}
"""By operation, where it is counted. Batches and scans have limits and tokens of ours."""


def hand_on_of(gateway: Gateway) -> HandOn | None:
    """How its driver does it, if it does."""
    found: HandOn | None = getattr(gateway.driver, "relay", None)
    return found


def relay(
    gateway: Gateway, hand_on: HandOn, operation: str, request: Any, tell: Tell
) -> Relayed | None:
    """Hand one on, admitted and counted by the gateway as any other.

    Raises:
        NotServing, Exhausted: it is not let in.
    """
    relayed: Relayed | None = None

    def abort() -> None:
        if relayed is not None and not relayed.done():
            relayed.set_exception(
                NotServing(
                    "aborted: it was still in flight when the time to drain was over",
                    outcome=Outcome.UNKNOWN,
                )
            )

    def ended(reply: Any, error: BaseException | None) -> None:
        tally.add(perf_counter_ns() - begun_ns)
        if error is not None:
            tally.failed[type(error)] += 1
        place.release()
        tell(reply, error)

    place = gateway.admission.reserve(abort)
    begun_ns = perf_counter_ns()
    tally = RELAYED[operation](gateway.tallies, request)
    try:
        relayed = hand_on(operation, request, ended)
    finally:
        if relayed is None:
            place.release()
    return relayed
