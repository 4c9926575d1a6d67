"""One operation of a stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.operate.kinds import Kind
from prism.domain.admission import Place
from prism.v1 import keyvalue_pb2 as pb


class Relayed(Protocol):
    """An operation that somebody else works on, and no task waits for."""

    def cancel(self) -> bool: ...


class Destination(Protocol):
    """Whom an operation is handed to."""

    @property
    def name(self) -> str:
        """Of the pattern; empty: there are none here."""
        ...

    @property
    def keeper(self) -> object | None:
        """Who keeps the order of what is handed to it, in this step of the loop.

        What goes to the same keeper need not wait for what went there before; None: it must.
        """
        ...


@dataclass(slots=True)
class Waiting:
    """What an operation holds whose turn has not come.

    Attributes:
        place: in admission.
        deadline: by the loop's clock.
        timer: fails it at its deadline.
    """

    place: Place
    deadline: float
    timer: asyncio.TimerHandle

    def release(self) -> None:
        """Hold nothing any longer. Safe more than once."""
        self.place.release()
        self.timer.cancel()


class Operation:
    """One operation, and the call context that its servicer method sees.

    Attributes:
        id: its caller's.
        message: as it came.
        keeper: of its order, if it begins at once; None: it keeps its turn until its end.
        timeout_s: from its arrival; once it began after a wait, what is left of it.
        ahead: how many operations take effect before it.
        followers: those that wait for it, once for each key they share.
        waiting: since its turn did not come at once.
        waited_from_ns: when it first had to wait for anything; 0: it has not.
        task: runs it, or whoever it is relayed to; None: it has not begun.
        deadline_step: of `Deadlines`.
        overdue: whether it is cancelled for its deadline.
        answered: whether it has its one outcome.
        begun: what an observer made of it.
    """

    __slots__ = (
        "_stream",
        "ahead",
        "answered",
        "begun",
        "deadline_step",
        "destination",
        "followers",
        "id",
        "keeper",
        "keys",
        "kind",
        "message",
        "overdue",
        "request",
        "task",
        "timeout_s",
        "waited_from_ns",
        "waiting",
    )

    def __init__(
        self,
        identity: int,
        message: pb.Operation,
        kind: Kind,
        request: Any,
        stream: CallContext,
        destination: Destination,
        timeout_s: float,
    ) -> None:
        self.id = identity
        self.message = message
        self.kind = kind
        self.request = request
        self.keys = kind.keys_of(request)
        self._stream = stream
        self.destination = destination
        self.timeout_s = timeout_s
        self.keeper: object | None = None
        self.ahead = 0
        self.followers: list[Operation] | None = None
        self.waiting: Waiting | None = None
        self.waited_from_ns = 0
        self.task: asyncio.Task[None] | Relayed | None = None
        self.deadline_step = 0
        self.overdue = False
        self.answered = False
        self.begun: object = None

    def is_kept_behind(self, before: Operation) -> bool:
        """Whether somebody else sees to it that this one takes effect after that one."""
        keeper = self.keeper
        return keeper is not None and keeper is before.keeper and before.task is not None

    @property
    def connection(self) -> str:
        return self._stream.connection

    @property
    def pattern(self) -> str:
        return self.destination.name

    def metadata(self, name: str) -> str | None:
        """Its own trace context, and for the rest what came with the stream."""
        if name == "traceparent":
            return self.message.traceparent or None
        if name == "tracestate":
            return self.message.tracestate or None
        return self._stream.metadata(name)
