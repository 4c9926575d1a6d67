"""One operation of a stream: its kind, its route, its limits and its state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from google.protobuf.message import Message

from prism.adapters.grpc.calls import UnaryHandler
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.request_log import RequestLog
from prism.adapters.wire.methods import METHODS, Method
from prism.domain.admission import Reservation
from prism.domain.deadline import Cancellable
from prism.domain.tallies import CallTally
from prism.ports import Keys
from prism.v1 import keyvalue_pb2 as pb


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Limits of every operation stream, and the log of its failures.

    Attributes:
        default_timeout_s: timeout of operations that come without one.
        max_message_bytes: maximum size of one message with outcomes.
        log: log of operations that fail or are slow.
    """

    default_timeout_s: float
    max_message_bytes: int
    log: RequestLog = field(default_factory=RequestLog)


@dataclass(frozen=True, slots=True)
class OperationKind:
    """How operations of one method are served.

    Attributes:
        handler: servicer method that serves a request.
        keys_of: returns the keys of a request; operations on one key take effect in order.
        is_long: whether one can take as long as hundreds of others, because it has many keys.
        tally: counts of operations; unary calls have their own.
    """

    method: Method[Message]
    handler: UnaryHandler
    keys_of: Callable[[Any], tuple[str, ...]]
    is_long: bool
    tally: CallTally = field(default_factory=CallTally)

    @property
    def path(self) -> str:
        """Path of the unary call that does the same."""
        return self.method.path


def kinds_of(servicer: object) -> Mapping[str, OperationKind]:
    """Return the kinds of operations by field.

    Args:
        servicer: object with a method of each field's name.
    """
    return {
        field: OperationKind(
            method, getattr(servicer, field), _KEYS_OF[method.keys], method.keys is not Keys.ONE
        )
        for field, method in METHODS.items()
    }


_KEYS_OF: Mapping[Keys, Callable[[Any], tuple[str, ...]]] = {
    Keys.ONE: lambda request: (request.key,),
    Keys.MANY: lambda request: tuple(request.keys),
    Keys.TRANSACTION: lambda request: tuple(
        {item.key: None for items in (request.conditions, request.writes) for item in items}
    ),
    # A scan waits for no operation, and none waits for it.
    Keys.PREFIX: lambda _: (),
}


class Route(Protocol):
    """Downstream that operations are sent to: a pattern, or this server's own gateway."""

    @property
    def name(self) -> str:
        """Name of the pattern; empty: this server has no patterns."""
        ...

    @property
    def ordered_by(self) -> object | None:
        """Downstream that preserves per-key order itself; None: serialise here.

        The value holds for this step of the event loop. An operation does not wait for an
        earlier one that was sent to the same downstream.
        """
        ...


class RelayedOutcomes(Protocol):
    """Takes the outcomes of operations that were relayed."""

    def relayed(
        self,
        outcomes: Sequence[tuple[Operation, pb.OperationOutcome]],
        response: pb.OperateResponse | None,
    ) -> None:
        """Take the replies that arrived together, with the ids of this stream.

        Args:
            response: a message with all of them and nothing else; None: there is none.
        """
        ...

    def relay_failed(self, operation: Operation, error: BaseException) -> None:
        """Take the error of an operation; CancelledError: it was given up."""
        ...


class OperationRelay(Protocol):
    """Sends operations on one key on to a downstream that orders them."""

    def send(self, operation: Operation) -> Cancellable | None:
        """Send an operation on without a task; None: its kind's handler must serve it.

        Raises the error that the operation fails with.
        """
        ...


class Router(Protocol):
    """Finds the route of each operation."""

    def relay_to(self, downstream: object, outcomes: RelayedOutcomes) -> OperationRelay | None:
        """Return the relay to a route's `ordered_by`; None: its operations cannot be relayed."""
        ...

    def route_of(self, pattern: str) -> Route:
        """Return the route to the named pattern; empty: to the default.

        Raises:
            PreconditionFailed: there is no such pattern.
        """
        ...


@dataclass(slots=True)
class Waiting:
    """Place of an operation behind earlier operations on its keys.

    Attributes:
        reservation: counts the operation as in flight until it begins.
        deadline: time of the loop's clock.
        timer: timer that fails the operation at its deadline.
    """

    reservation: Reservation
    deadline: float
    timer: asyncio.TimerHandle

    def release(self) -> None:
        """Cancel the reservation and the timer; no effect the second time."""
        self.reservation.release()
        self.timer.cancel()


class Operation:
    """One operation, and the call context of its servicer method.

    Attributes:
        id: the caller's id.
        message: the operation as it came.
        request: the request in it.
        keys: keys of the request.
        ordered_by: the route's `ordered_by` if the operation begins at once; None: later
            operations on its keys wait until it ends.
        is_queued: whether it has a place in the queues of its keys.
        timeout_s: seconds from its arrival; for one that began after a wait, what was left.
        ahead: number of operations that must end before it begins.
        followers: operations that wait for this one, once for each key they share.
        waiting: what it holds while it waits; None: it began at once.
        waited_from_ns: when it first had to wait for anything; 0: it has not.
        task: work in progress; None: it has not begun.
        deadline_step: step of `Deadlines` in which it expires.
        overdue: whether it was cancelled at its deadline.
        answered: whether its outcome is recorded.
        observed: the observer's handle.
    """

    # Defaults of the class, because most operations end in their first step and set none of them.
    ordered_by: object | None = None
    is_queued = False
    ahead = 0
    followers: list[Operation] | None = None
    waiting: Waiting | None = None
    waited_from_ns = 0
    task: Cancellable | None = None
    deadline_step = 0
    overdue = False
    answered = False
    observed: object = None

    def __init__(
        self,
        identity: int,
        message: pb.Operation,
        kind: OperationKind,
        request: Message,
        stream: CallContext,
        route: Route,
        timeout_s: float,
    ) -> None:
        self.id = identity
        self.message = message
        self.kind = kind
        self.request = request
        self.keys = kind.keys_of(request)
        self._stream = stream
        self.route = route
        self.timeout_s = timeout_s

    def is_ordered_behind(self, before: Operation) -> bool:
        """Whether the downstream lets this operation take effect after the other one."""
        downstream = self.ordered_by
        return (
            downstream is not None and downstream is before.ordered_by and before.task is not None
        )

    @property
    def connection(self) -> str:
        return self._stream.connection

    @property
    def pattern(self) -> str:
        return self.route.name

    @property
    def authorization(self) -> str | bytes | None:
        return self._stream.authorization

    @property
    def certificate(self) -> str:
        return self._stream.certificate

    def metadata(self, name: str) -> str | None:
        """The operation's own trace context; everything else comes with the stream."""
        if name == "traceparent":
            return self.message.traceparent or None
        if name == "tracestate":
            return self.message.tracestate or None
        return self._stream.metadata(name)
