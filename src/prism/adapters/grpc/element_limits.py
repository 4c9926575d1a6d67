"""Bounds on the elements of an encoded message, checked before the message is parsed.

Four kilobytes of gzip can hold two million empty keys. Protocol Buffers has no bound on
the number of elements, so this module counts them in the encoded message.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from prism.adapters.wire.encoding import varint
from prism.ports import Exhausted

MAX_ELEMENTS = 10_000
"""Elements of all repeated fields of one message together."""

MAX_STREAM_ELEMENTS = 1 << 15
"""The same for a message of a stream, which carries many operations."""

_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5

_LARGE_BYTES = 256 << 10
"""Messages above this size are always walked through."""

_DELIMITED = (
    FieldDescriptor.TYPE_STRING,
    FieldDescriptor.TYPE_BYTES,
    FieldDescriptor.TYPE_MESSAGE,
)

# The last byte of a varint has its high bit clear.
_NOT_LAST_BYTES = bytes(range(0x80, 0x100))


@dataclass(slots=True)
class _Shape:
    """The fields of one message type that matter for counting, by field number.

    Attributes:
        repeated: repeated strings, byte strings and messages.
        packed: repeated numbers.
        nested: messages, whose fields are counted too.
    """

    repeated: set[int] = field(default_factory=set)
    packed: set[int] = field(default_factory=set)
    nested: dict[int, _Shape] = field(default_factory=dict)


class ElementLimits:
    """Bound on the elements of messages of one type.

    Args:
        message_type: class of the messages.
        max_elements: elements that one message may have, nested messages included.
    """

    def __init__(self, message_type: type[Message], max_elements: int = MAX_ELEMENTS) -> None:
        self._name = message_type.DESCRIPTOR.full_name
        self._max_elements = max_elements
        fields = cast("Sequence[FieldDescriptor]", message_type.DESCRIPTOR.fields)
        self._shape = _shape_of(self._name, fields, {})
        self._tags = sorted(_tags_of(self._shape, seen=[]))

    @property
    def applies(self) -> bool:
        """Whether messages of this type have any repeated field that is counted."""
        return bool(self._tags)

    def check(self, encoded: bytes) -> None:
        """Refuse a message with too many elements.

        An ordinary message costs one search for each tag. A large message, and one in which
        the tags occur more often than allowed, perhaps inside values, is walked through, but
        no further than to the first element too many.

        Raises:
            Exhausted: the message has more than `max_elements`.
        """
        # A tag and a length take two bytes.
        if len(encoded) <= 2 * self._max_elements:
            return
        is_large = len(encoded) > _LARGE_BYTES
        if not is_large and sum(map(encoded.count, self._tags)) <= self._max_elements:
            # Numbers have no tags of their own, but not enough of them fit to do harm.
            return
        if _count(self._shape, encoded, 0, len(encoded), self._max_elements) > self._max_elements:
            raise Exhausted(
                f"the {self._name} has more than {self._max_elements:,} elements: "
                "send several smaller ones"
            )


def _shape_of(name: str, fields: Sequence[FieldDescriptor], known: dict[str, _Shape]) -> _Shape:
    if name in known:
        return known[name]
    shape = known[name] = _Shape()
    for each in fields:
        if each.is_repeated:
            numbers = shape.repeated if each.type in _DELIMITED else shape.packed
            numbers.add(each.number)
        if (nested := each.message_type) is not None:
            shape.nested[each.number] = _shape_of(nested.full_name, nested.fields, known)
    return shape


def _tags_of(shape: _Shape, seen: list[_Shape]) -> set[bytes]:
    if any(shape is each for each in seen):
        return set()
    seen.append(shape)
    tags = {varint(number << 3 | _LENGTH_DELIMITED) for number in shape.repeated}
    for nested in shape.nested.values():
        tags |= _tags_of(nested, seen)
    return tags


def _count(shape: _Shape, encoded: bytes, at: int, end: int, limit: int) -> int:
    """Return the number of elements from `at` to `end`, or any number above the limit.

    Malformed bytes end the count: the parser refuses them.
    """
    repeated, nested, packed = shape.repeated, shape.nested, shape.packed
    count = 0
    while at < end and count <= limit:
        # Tags and lengths of one byte are read here: a call for each would take most of the time.
        tag = encoded[at]
        at += 1
        if tag > 0x7F:
            tag, at = _read_varint(encoded, at - 1, end)
        wire_type = tag & 7
        if wire_type == _LENGTH_DELIMITED:
            if at >= end:
                break
            size = encoded[at]
            at += 1
            if size > 0x7F:
                size, at = _read_varint(encoded, at - 1, end)
            number = tag >> 3
            if number in repeated:
                count += 1
            elif number in packed:
                count += len(encoded[at : at + size].translate(None, _NOT_LAST_BYTES))
            if size and number in nested:
                count += _count(nested[number], encoded, at, min(at + size, end), limit - count)
            at += size
        elif wire_type == _VARINT:
            _, at = _read_varint(encoded, at, end)
        elif wire_type == _FIXED64:
            at += 8
        elif wire_type == _FIXED32:
            at += 4
        else:
            break
    return count


def _read_varint(encoded: bytes, at: int, end: int) -> tuple[int, int]:
    value = shift = 0
    while at < end:
        byte = encoded[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            break
    return 0, end
