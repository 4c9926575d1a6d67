"""How operations of one stream are sent on over another, without decoding requests and replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from prism.ports import Outcome
from prism.v1 import keyvalue_pb2 as pb


class Relayed:
    """An operation that is sent on, as the stream that carries it sees it.

    Attributes:
        id: its id on that stream, which sets it, and `head` and `body`; 0: it was not sent.
        head: encoded fields before the body.
        body: the encoded operation.
        expires_at: None: the sender enforces the deadline.
        written: whether the server may have seen it.
        sink: receives the outcome, unless `fail` does.
    """

    __slots__ = ("body", "head", "id", "sink", "written")

    id: int
    head: bytes
    body: bytes
    expires_at: None = None
    written: bool
    sink: OutcomeSink

    @property
    def outcome(self) -> Outcome:
        """Outcome that is known without an answer."""
        return Outcome.UNKNOWN if self.written else Outcome.NOT_APPLIED

    def done(self) -> bool:
        """Whether nobody waits for its outcome any more."""
        raise NotImplementedError

    def fail(self, error: Exception) -> None:
        """Take the error that the server sent, or that ended the stream."""
        raise NotImplementedError


RelayedOutcome: TypeAlias = tuple[Relayed, pb.OperationOutcome]


class OutcomeSink(Protocol):
    """Receives outcomes of relayed operations, in the step in which their message arrives."""

    def arrived(
        self, outcomes: Sequence[RelayedOutcome], response: pb.OperateResponse | None
    ) -> None:
        """Take the outcomes that one message has for this sink, which may change them.

        Args:
            response: the message, if it has no other outcomes.
        """
        ...


class Relay(Protocol):
    """Stream to a server that operations of other streams are sent on over."""

    def relay(self, message: pb.Operation, relayed: Relayed) -> bool:
        """Send an operation, whose id and trace context this may change; False: not now.

        Raises:
            NotServing: the connection is closed.
        """
        ...

    def give_up(self, relayed: Relayed) -> None:
        """Cancel an operation: no outcome of it is reported."""
        ...


@runtime_checkable
class RelayingDriver(Protocol):
    """Driver whose backend is a Prism server, so that it can relay operations as messages."""

    @property
    def relay(self) -> Relay | None:
        """Relays operations; None: not connected."""
        ...
