"""Operations that callers wait for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from google.protobuf.message import Message

from prism.adapters.remote.methods import Method
from prism.adapters.remote.propagation import TraceContext
from prism.adapters.remote.told import Told
from prism.ports import BackendTimeout, Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb

# Any server takes so much: the smallest limit on messages is twice as high.
_MESSAGE_BYTES = 512 << 10

# What an operation adds to its request.
_OVERHEAD_BYTES = 32

# The server's word on a deadline is worth more than ours: it knows whether the
# operation began. Ours is for a server that says nothing.
_BACKSTOP_S = 0.1


class Pending:
    """One operation, from its caller's question to its outcome.

    Attributes:
        timeout_ms: told the server.
        gives_up_at: by the loop's clock; None: somebody else bounds it.
        written: whether the server may have seen it.
    """

    __slots__ = (
        "future",
        "gives_up_at",
        "id",
        "method",
        "request",
        "size",
        "timeout_ms",
        "trace",
        "written",
    )

    def __init__(
        self,
        identity: int,
        method: Method[Any],
        request: Message,
        size: int,
        timeout_ms: int,
        gives_up_at: float | None,
        future: asyncio.Future[Any] | Told,
        trace: TraceContext | None,
    ) -> None:
        self.id = identity
        self.method = method
        self.request = request
        self.size = size
        self.timeout_ms = timeout_ms
        self.gives_up_at = gives_up_at
        self.future = future
        self.trace = trace
        self.written = False

    @property
    def outcome(self) -> Outcome:
        """What became of it, as far as can be told without an answer."""
        return Outcome.UNKNOWN if self.written else Outcome.NOT_APPLIED

    def fail(self, error: Exception) -> None:
        """Unless its caller has gone."""
        if not self.future.done():
            self.future.set_exception(error)


class Unanswered:
    """Everything that was asked and not answered, and what of it is to be written.

    Args:
        timeout_s: of every operation that has no bound of its own; these end in the order
            they began.
        changed: called when there is something to write.
    """

    def __init__(self, timeout_s: float, changed: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self._timeout_ms = _milliseconds(timeout_s)
        self._changed = changed
        self._by_id: dict[int, Pending] = {}
        self._unwritten: deque[Pending] = deque()
        self._cancel_ids: list[int] = []
        self._last_id = 0
        self._timer: asyncio.TimerHandle | None = None
        # Found once: it is a system call, and dearer than the rest of `add`.
        self._loop = asyncio.get_running_loop()

    def add(
        self,
        method: Method[Any],
        request: Message,
        size: int,
        trace: TraceContext | None = None,
        left_s: float | None = None,
        told: Told | None = None,
    ) -> Pending:
        """One more; its future has the reply, or fails.

        Args:
            told: in place of a future.
            left_s: to whoever waits for it, and gives it up then; None: it is given up here.
        """
        loop = self._loop
        self._last_id = identity = self._last_id + 1
        if trace is not None:
            size += len(trace.traceparent) + len(trace.tracestate)
        if left_s is None:
            timeout_ms = self._timeout_ms
            gives_up_at = loop.time() + self._timeout_s + _BACKSTOP_S
            if self._timer is None:
                self._timer = loop.call_at(gives_up_at, self._expire)
        else:
            timeout_ms, gives_up_at = _milliseconds(left_s), None
        future = told or loop.create_future()
        pending = Pending(identity, method, request, size, timeout_ms, gives_up_at, future, trace)
        self._by_id[identity] = pending
        self._unwritten.append(pending)
        self._changed()
        return pending

    def take(self, identity: int) -> Pending | None:
        """The one that an outcome is for; None when nobody waits for it any more."""
        return self._by_id.pop(identity, None)

    def take_all(self) -> Iterator[Pending]:
        """Each, and none of it is left."""
        everything = self._by_id
        self._by_id = {}
        self._unwritten.clear()
        self._cancel_ids.clear()
        self._disarm()
        yield from everything.values()

    def give_up(self, pending: Pending) -> None:
        """Its caller waits no longer."""
        if self._by_id.pop(pending.id, None) is not None and pending.written:
            self._cancel_ids.append(pending.id)
            self._changed()

    def next_message(self) -> bytes | None:
        """What is to be written next, which counts as written from now on."""
        unwritten = self._unwritten
        if not unwritten and not self._cancel_ids:
            return None
        message = pb.OperateRequest(cancel_ids=self._cancel_ids)
        self._cancel_ids.clear()
        room = _MESSAGE_BYTES
        add = message.operations.add
        while unwritten:
            pending = unwritten[0]
            room -= pending.size + _OVERHEAD_BYTES
            if room < 0 and message.operations:
                break
            unwritten.popleft()
            if pending.future.done():
                continue  # given up before it was ever written
            pending.written = True
            operation = add(
                id=pending.id,
                timeout_ms=pending.timeout_ms,
                **{pending.method.field: pending.request},
            )
            if pending.trace is not None:
                operation.traceparent, operation.tracestate = pending.trace
        return message.SerializeToString()

    def _expire(self) -> None:
        """Fail what is over time, and look again when the next may be."""
        self._timer = None
        loop = self._loop
        now = loop.time()
        for pending in tuple(self._by_id.values()):
            if pending.gives_up_at is None:
                continue
            if pending.gives_up_at > now:
                self._timer = loop.call_at(pending.gives_up_at, self._expire)
                return
            pending.fail(self._timed_out(pending))
            self.give_up(pending)

    def _timed_out(self, pending: Pending) -> PrismError:
        return BackendTimeout(
            f"no answer within the deadline of {self._timeout_s:.3g} s", outcome=pending.outcome
        )

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _milliseconds(seconds: float) -> int:
    """At least one: a server reads 0 as its own default."""
    return int(seconds * 1000) or 1
