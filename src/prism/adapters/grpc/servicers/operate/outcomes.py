"""Outcomes on their way out: encoded once, and many to a message."""

from __future__ import annotations

from collections import deque

from prism.v1 import keyvalue_pb2 as pb

FRAMING_BYTES = 32
"""More than what a message and an outcome add to a reply."""

_LENGTH_DELIMITED = 2
_BYTE = [bytes((n,)) for n in range(0x80)]


class Encoded:
    """An `OperateResponse` that is already as it will be sent.

    Outcomes are framed by hand: putting a reply into an outcome and that into a
    response would encode or copy it three times, and its size would still have to
    be found out by encoding it once more.
    """

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


def varint(number: int) -> bytes:
    """https://protobuf.dev/programming-guides/encoding/#varints"""
    if number < 0x80:
        return _BYTE[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    if number < 0x20_0000:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def tag_of(name: str) -> bytes:
    """The tag of a message's field in `OperationOutcome`."""
    number = pb.OperationOutcome.DESCRIPTOR.fields_by_name[name].number
    return varint(number << 3 | _LENGTH_DELIMITED)


_ID_TAG = varint(pb.OperationOutcome.ID_FIELD_NUMBER << 3)
_OUTCOMES_TAG = varint(pb.OperateResponse.OUTCOMES_FIELD_NUMBER << 3 | _LENGTH_DELIMITED)
ERROR_TAG = tag_of("error")
