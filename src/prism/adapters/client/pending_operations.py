"""Operations of a client that wait for their outcome, and the messages that they are sent in."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from google.protobuf.message import Message

from prism.adapters.client.propagation import TraceContext
from prism.adapters.wire.encoding import tag_of, varint
from prism.adapters.wire.methods import Method
from prism.adapters.wire.relay import Relayed
from prism.ports import BackendTimeout, Outcome
from prism.v1 import keyvalue_pb2 as pb

# Every server accepts this: the smallest limit on messages is twice as high.
_MESSAGE_BYTES = 512 << 10

# Below what a server accepts in one message, for keys and values of batches as well.
_MESSAGE_ELEMENTS, _MESSAGE_CANCEL_IDS = 16_000, 8_000
_SMALL_BODY_BYTES = 512

# The server's error about a deadline says whether the operation began. The client's own
# timeout, for a server that does not answer, comes this much later.
TIMEOUT_MARGIN_S = 0.1

_OPERATIONS_TAG = tag_of(pb.OperateRequest, "operations")
_ID_TAG = tag_of(pb.Operation, "id")
_TIMEOUT_TAG = tag_of(pb.Operation, "timeout_ms")


class PendingOperation:
    """Operation whose outcome has not arrived.

    Attributes:
        head: encoded fields before the body.
        body: encoded request, or the rest of the operation.
        expires_at: time of the loop's clock at which the client gives up; None: the caller
            enforces the deadline.
        written: whether the server may have seen it.
    """

    __slots__ = ("body", "expires_at", "future", "head", "id", "method", "written")

    def __init__(
        self,
        identity: int,
        method: Method[Message],
        head: bytes,
        body: bytes,
        expires_at: float | None,
        future: asyncio.Future[Any],
    ) -> None:
        self.id = identity
        self.method = method
        self.head = head
        self.body = body
        self.expires_at = expires_at
        self.future = future
        self.written = False

    @property
    def outcome(self) -> Outcome:
        """Outcome that is known without an answer."""
        return Outcome.UNKNOWN if self.written else Outcome.NOT_APPLIED

    def done(self) -> bool:
        """Whether the caller has gone, or has the outcome."""
        return self.future.done()

    def fail(self, error: Exception) -> None:
        """Report the error, unless the caller has gone."""
        if not self.future.done():
            self.future.set_exception(error)


Pending: TypeAlias = "PendingOperation | Relayed"
"""An operation of this client's caller, or one that is relayed."""


class PendingOperations:
    """Operations that were started and not answered, and those of them still to write.

    Args:
        timeout_s: timeout of operations without a deadline of their own; they expire in
            the order in which they began.
        changed: called when there is something to write, with the number of operations.

    Attributes:
        last_id: id of the last operation that was added.
    """

    def __init__(self, timeout_s: float, changed: Callable[[int], None]) -> None:
        self._timeout_s = timeout_s
        self._timeout = _timeout_field(timeout_s)
        self._changed = changed
        self._by_id: dict[int, Pending] = {}
        self._unwritten: deque[Pending] = deque()
        self._cancel_ids: list[int] = []
        self.last_id = 0
        self._timer: asyncio.TimerHandle | None = None
        # Kept, because finding the loop costs a system call: more than the rest of `add`.
        self._loop = asyncio.get_running_loop()

    def add(
        self,
        method: Method[Message],
        request: bytes,
        trace: TraceContext | None,
        left_s: float | None,
    ) -> tuple[PendingOperation, asyncio.Future[Any]]:
        """Add an operation.

        Args:
            left_s: seconds after which its caller gives it up; None: the common timeout holds
                and is enforced here.

        Returns:
            The operation, and the future of its reply.
        """
        expires_at = None
        timeout = self._timeout
        if left_s is None:
            expires_at = self._loop.time() + self._timeout_s + TIMEOUT_MARGIN_S
            if self._timer is None:
                self._timer = self._loop.call_at(expires_at, self._expire)
        else:
            timeout = _timeout_field(left_s)
        self.last_id += 1
        inner = _ID_TAG + varint(self.last_id) + timeout
        if trace is not None:
            inner += pb.Operation(
                traceparent=trace.traceparent, tracestate=trace.tracestate
            ).SerializeToString()
        size = len(request)
        inner += method.request_tag + varint(size)
        head = _OPERATIONS_TAG + varint(len(inner) + size) + inner
        future = self._loop.create_future()
        pending = PendingOperation(self.last_id, method, head, request, expires_at, future)
        self._by_id[pending.id] = pending
        self._unwritten.append(pending)
        self._changed(len(self._unwritten))
        return pending, future

    def add_relayed(self, message: pb.Operation, relayed: Relayed) -> None:
        """Add an operation that is complete but for its id."""
        self.last_id = relayed.id = message.id = self.last_id + 1
        relayed.body = body = message.SerializeToString()
        relayed.head = _OPERATIONS_TAG + varint(len(body))
        self._by_id[relayed.id] = relayed
        self._unwritten.append(relayed)
        self._changed(len(self._unwritten))

    @property
    def idle(self) -> bool:
        """Whether no operation is pending, and nothing is left to write."""
        return not (self._by_id or self._unwritten or self._cancel_ids)

    @property
    def some_unanswered(self) -> bool:
        """Whether the server may have seen an operation and not answered it."""
        return any(pending.written for pending in self._by_id.values())

    def take(self, identity: int) -> Pending | None:
        """Remove the operation of this id; None: nobody waits for it any more."""
        return self._by_id.pop(identity, None)

    def write_again(self) -> None:
        """Write every operation once more, in the order in which they began."""
        self._cancel_ids.clear()
        self._unwritten = deque(self._by_id.values())
        for pending in self._unwritten:
            pending.written = False

    def take_all(self) -> Iterator[Pending]:
        """Remove all operations, and yield each."""
        everything = self._by_id
        self._by_id = {}
        self._unwritten.clear()
        self._cancel_ids.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        yield from everything.values()

    def give_up(self, pending: Pending) -> None:
        """Remove the operation, and tell the server if it may have seen it."""
        if self._by_id.pop(pending.id, None) is not None and pending.written:
            self._cancel_ids.append(pending.id)
            self._changed(len(self._unwritten))

    def next_message(self) -> bytes | None:
        """Return the next message and mark its operations as written; None: nothing to write."""
        unwritten = self._unwritten
        if not unwritten and not self._cancel_ids:
            return None
        left, elements_left = _MESSAGE_BYTES, _MESSAGE_ELEMENTS
        parts: list[bytes] = []
        while unwritten:
            pending = unwritten[0]
            left -= len(pending.head) + len(pending.body)
            if len(pending.body) > _SMALL_BODY_BYTES:
                # Not exact: the tags of keys and values of a batch occur inside values too.
                elements_left -= pending.body.count(b"\x0a") + pending.body.count(b"\x12")
            if (left < 0 or elements_left < 0) and parts:
                break
            unwritten.popleft()
            if pending.done():
                continue  # given up before it was written
            pending.written = True
            parts.append(pending.head)
            parts.append(pending.body)
        if self._cancel_ids:
            ids = self._cancel_ids[:_MESSAGE_CANCEL_IDS]
            del self._cancel_ids[: len(ids)]
            parts.append(pb.OperateRequest(cancel_ids=ids).SerializeToString())
        return b"".join(parts)

    def _expire(self) -> None:
        """Fail expired operations, and set the timer for the next one."""
        self._timer = None
        loop = self._loop
        now = loop.time()
        for pending in tuple(self._by_id.values()):
            if pending.expires_at is None:
                continue
            if pending.expires_at > now:
                self._timer = loop.call_at(pending.expires_at, self._expire)
                return
            pending.fail(
                BackendTimeout(
                    f"no answer within the deadline of {self._timeout_s:.3g} s",
                    outcome=pending.outcome,
                )
            )
            self.give_up(pending)


def _timeout_field(seconds: float) -> bytes:
    """Encode a timeout of at least a millisecond: a server reads 0 as its own default."""
    return _TIMEOUT_TAG + varint(int(seconds * 1000) or 1)
