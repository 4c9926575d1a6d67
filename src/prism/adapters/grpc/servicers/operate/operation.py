"""One operation of a stream."""

from __future__ import annotations

import asyncio
from typing import Any

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.operate.kinds import Kind
from prism.domain.admission import Place
from prism.v1 import keyvalue_pb2 as pb


class Operation:
    """One operation, and the call context that its servicer method sees.

    Attributes:
        timeout_s: from its arrival; once it began after a wait, what is left of it.
        deadline: by the loop's clock, of one that waits.
        ahead: how many operations take effect before it.
        followers: those that wait for it, once for each key they share.
        place: held in admission while it waits for its turn.
        task: runs it; None: it has not begun.
        given_up: whether its caller cancelled it.
        answered: whether it has its one outcome.
    """

    __slots__ = (
        "_message",
        "_stream",
        "ahead",
        "answered",
        "begun",
        "deadline",
        "followers",
        "id",
        "keys",
        "kind",
        "place",
        "request",
        "task",
        "timeout_s",
        "timer",
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
        self.answered = False
        self.task: asyncio.Task[None] | None = None
        self.place: Place | None = None
        self.deadline: float | None = None
        self.timer: asyncio.TimerHandle | None = None
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

    def release(self) -> None:
        """Hold nothing any longer that was held while it waited."""
        if self.place is not None:
            self.place.release()
            self.place = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
