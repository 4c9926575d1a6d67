"""One operation of a stream."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.operate.kinds import Kind
from prism.domain.admission import Place
from prism.v1 import keyvalue_pb2 as pb


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
        timeout_s: from its arrival; once it began after a wait, what is left of it.
        ahead: how many operations take effect before it.
        followers: those that wait for it, once for each key they share.
        waiting: since its turn did not come at once.
        waited_from_ns: when it first had to wait for anything; 0: it has not.
        task: runs it; None: it has not begun.
        answered: whether it has its one outcome.
        begun: what an observer made of it.
    """

    __slots__ = (
        "_message",
        "_stream",
        "ahead",
        "answered",
        "begun",
        "followers",
        "id",
        "keys",
        "kind",
        "request",
        "task",
        "timeout_s",
        "waited_from_ns",
        "waiting",
    )

    def __init__(
        self,
        message: pb.Operation,
        kind: Kind,
        request: Any,
        stream: CallContext,
        timeout_s: float,
    ) -> None:
        self._message = message
        self._stream = stream
        self.id = message.id
        self.kind = kind
        self.request = request
        self.keys = kind.keys_of(request)
        self.timeout_s = timeout_s
        self.ahead = 0
        self.followers: list[Operation] | None = None
        self.waiting: Waiting | None = None
        self.waited_from_ns = 0
        self.task: asyncio.Task[None] | None = None
        self.answered = False
        self.begun: object = None

    @property
    def connection(self) -> str:
        return self._stream.connection

    def metadata(self, name: str) -> str | None:
        """Its own trace context, and for the rest what came with the stream."""
        if name == "traceparent":
            return self._message.traceparent or None
        if name == "tracestate":
            return self._message.tracestate or None
        return self._stream.metadata(name)
