"""The operations that callers wait for, and their way out: many to a message."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from prism.adapters.remote.methods import Method
from prism.adapters.remote.pending import Pending, Waiter
from prism.adapters.remote.propagation import TraceContext
from prism.adapters.wire.encoding import tag_of, varint
from prism.ports import BackendTimeout, PrismError
from prism.v1 import keyvalue_pb2 as pb

# Any server takes so much: the smallest limit on messages is twice as high.
_MESSAGE_BYTES = 512 << 10

# The server's word on a deadline is worth more than ours: it knows whether the
# operation began. Ours is for a server that says nothing.
_BACKSTOP_S = 0.1

_OPERATIONS_TAG = tag_of(pb.OperateRequest, "operations")
_ID_TAG = tag_of(pb.Operation, "id")
_TIMEOUT_TAG = tag_of(pb.Operation, "timeout_ms")


class Unanswered:
    """Everything that was asked and not answered, and what of it is to be written.

    Args:
        timeout_s: of every operation that has no bound of its own; these end in the order
            they began.
        changed: called when there is something to write.
    """

    def __init__(self, timeout_s: float, changed: Callable[[], None]) -> None:
        self._timeout_s = timeout_s
        self._timeout = _timeout(timeout_s)
        self._changed = changed
        self._by_id: dict[int, Pending] = {}
        self._unwritten: deque[Pending] = deque()
        self._cancel_ids: list[int] = []
        self._last_id = 0
        self._timer: asyncio.TimerHandle | None = None
        # Found once: it is a system call, and dearer than the rest of `add`.
        self._loop = asyncio.get_running_loop()

    def add(
        self, method: Method[Any], request: bytes, trace: TraceContext | None
    ) -> tuple[Pending, asyncio.Future[Any]]:
        """One more, which is given up here after the timeout.

        Returns:
            It, and what has the reply or fails.
        """
        loop = self._loop
        gives_up_at = loop.time() + self._timeout_s + _BACKSTOP_S
        if self._timer is None:
            self._timer = loop.call_at(gives_up_at, self._expire)
        future = loop.create_future()
        head = self._head(method, len(request), self._timeout, trace)
        return self._add(method, head, request, gives_up_at, future), future

    def add_bounded(
        self,
        method: Method[Any],
        request: bytes,
        trace: TraceContext | None,
        left_s: float,
        waiter: Waiter,
    ) -> Pending:
        """One more, which its waiter gives up when there is no time left."""
        head = self._head(method, len(request), _timeout(left_s), trace)
        return self._add(method, head, request, None, waiter)

    def add_operation(
        self, method: Method[Any], operation: pb.Operation, waiter: Waiter
    ) -> Pending:
        """One more, whole but for its id, which its waiter gives up when its time is over."""
        self._last_id = operation.id = self._last_id + 1
        body = operation.SerializeToString()
        return self._add(method, _OPERATIONS_TAG + varint(len(body)), body, None, waiter)

    def _head(
        self, method: Method[Any], size: int, timeout: bytes, trace: TraceContext | None
    ) -> bytes:
        """Of the next one, whose request has that size."""
        self._last_id += 1
        inner = _ID_TAG + varint(self._last_id) + timeout
        if trace is not None:
            inner += pb.Operation(
                traceparent=trace.traceparent, tracestate=trace.tracestate
            ).SerializeToString()
        inner += method.tag + varint(size)
        return _OPERATIONS_TAG + varint(len(inner) + size) + inner

    def _add(
        self,
        method: Method[Any],
        head: bytes,
        body: bytes,
        gives_up_at: float | None,
        waiter: Waiter,
    ) -> Pending:
        pending = Pending(self._last_id, method, head, body, gives_up_at, waiter)
        self._by_id[pending.id] = pending
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
        room = _MESSAGE_BYTES
        parts: list[bytes] = []
        while unwritten:
            pending = unwritten[0]
            room -= len(pending.head) + len(pending.body)
            if room < 0 and parts:
                break
            unwritten.popleft()
            if pending.waiter.done():
                continue  # given up before it was ever written
            pending.written = True
            parts.append(pending.head)
            parts.append(pending.body)
        if self._cancel_ids:
            parts.append(pb.OperateRequest(cancel_ids=self._cancel_ids).SerializeToString())
            self._cancel_ids.clear()
        return b"".join(parts)

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


def _timeout(seconds: float) -> bytes:
    """At least a millisecond: a server reads 0 as its own default."""
    return _TIMEOUT_TAG + varint(int(seconds * 1000) or 1)
