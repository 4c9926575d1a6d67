"""Protobuf's wire format, for messages that are assembled from encoded parts.

Nesting a message in another encodes or copies it at each level, and finding its size means
to encode it once more.

https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

_VARINT, _LENGTH_DELIMITED = 0, 2
_BYTE = [bytes((n,)) for n in range(0x80)]


def varint(number: int) -> bytes:
    """Encode a number as a varint: seven bits per byte, the lowest first."""
    if number < 0x80:
        return _BYTE[number]
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    if number < 0x20_0000:
        return bytes((number & 0x7F | 0x80, number >> 7 & 0x7F | 0x80, number >> 14))
    if number < 0x1000_0000:
        # Ids of operations on a stream that has lasted long.
        return bytes(
            (
                number & 0x7F | 0x80,
                number >> 7 & 0x7F | 0x80,
                number >> 14 & 0x7F | 0x80,
                number >> 21,
            )
        )
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def tag_of(message_type: type[Message], name: str) -> bytes:
    """Return the encoded tag of a field that is an unsigned number or has a length prefix."""
    field = message_type.DESCRIPTOR.fields_by_name[name]
    numeric = field.type in (FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_UINT64)
    return varint(field.number << 3 | (_VARINT if numeric else _LENGTH_DELIMITED))
