"""Outcomes on their way out: encoded once, and many to a message."""

from __future__ import annotations

from collections import deque

from prism.adapters.wire.encoding import tag_of, varint
from prism.v1 import keyvalue_pb2 as pb

FRAMING_BYTES = 32
"""More than what a message and an outcome add to a reply."""


class Encoded:
    """An `OperateResponse` that is already as it will be sent."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[bytes]) -> None:
        self._parts = parts

    def SerializeToString(self) -> bytes:  # noqa: N802  (what a message calls it)
        return b"".join(self._parts)


class Outbox:
    """What is answered and not sent yet, in the order of completion.

    Args:
        max_message_bytes: of one message; an outcome is smaller.
    """

    def __init__(self, max_message_bytes: int) -> None:
        self._max_message_bytes = max_message_bytes
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._bytes = 0

    def __bool__(self) -> bool:
        return bool(self._waiting)

    @property
    def full(self) -> bool:
        """Whether there is a message to send before more is asked for."""
        return self._bytes > self._max_message_bytes

    def put(self, identity: int, tag: bytes, reply: bytes) -> None:
        """An outcome: the encoded reply under the tag of its field."""
        size = len(reply)
        inner = _ID_TAG + varint(identity) + tag + varint(size)
        head = _OUTCOMES_TAG + varint(len(inner) + size) + inner
        self._waiting.append((head, reply))
        self._bytes += len(head) + size

    def take(self) -> Encoded:
        """The next message: one outcome at least, and as many as fit."""
        waiting = self._waiting
        room = self._max_message_bytes
        parts: list[bytes] = []
        while waiting:
            head, reply = waiting[0]
            size = len(head) + len(reply)
            if size > room and parts:
                break
            room -= size
            parts += waiting.popleft()
        self._bytes -= self._max_message_bytes - room
        return Encoded(parts)


_ID_TAG = tag_of(pb.OperationOutcome, "id")
_OUTCOMES_TAG = tag_of(pb.OperateResponse, "outcomes")
ERROR_TAG = tag_of(pb.OperationOutcome, "error")
