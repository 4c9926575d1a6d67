"""Framing of gRPC messages, on the server's side.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
https://github.com/grpc/grpc/blob/master/doc/compression.md
"""

from __future__ import annotations

import zlib

from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.calls import Rejected
from prism.adapters.wire.status import sendable, status_of
from prism.ports import Exhausted, Outcome, PrismError
from prism.v1 import keyvalue_pb2 as pb

PREFIX_BYTES = 5
"""One byte for whether the message is compressed, and four for its length."""

ACCEPTED_ENCODINGS = b"identity,deflate,gzip"

HEAVY_BYTES = 256 << 10
"""Messages above this size take milliseconds to decode."""

# zlib's window sizes, which also select the format.
_WINDOW = {b"deflate": zlib.MAX_WBITS, b"gzip": zlib.MAX_WBITS | 16}


def frame(message: bytes) -> bytes:
    """Return a message with its prefix, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def prefix_of(message: bytes) -> bytes:
    """Return the prefix of an uncompressed message."""
    return b"\0" + len(message).to_bytes(4, "big")


class Messages:
    """Cuts a stream of bytes into messages.

    Args:
        encoding: value of the caller's `grpc-encoding`.
        max_bytes: maximum size of one message, uncompressed.
    """

    def __init__(self, encoding: bytes, max_bytes: int) -> None:
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """Add bytes from the caller."""
        self._buffer += data

    def next(self) -> bytes | None:
        """Return the next complete message; None: more bytes are needed.

        Raises:
            Rejected: the message is too large, or cannot be decompressed.
        """
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return None
        size = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
        if size > self._max_bytes:
            raise too_large(size, self._max_bytes)
        end = PREFIX_BYTES + size
        if len(buffer) < end:
            return None
        message = bytes(memoryview(buffer)[PREFIX_BYTES:end])
        compressed = buffer[0]
        del buffer[:end]
        return decompress(message, self._encoding, self._max_bytes) if compressed else message

    @property
    def next_is_heavy(self) -> bool:
        """Whether the next message is complete, and takes milliseconds to decode."""
        buffer = self._buffer
        if len(buffer) < PREFIX_BYTES:
            return False
        size = int.from_bytes(buffer[1:PREFIX_BYTES], "big")
        return len(buffer) >= PREFIX_BYTES + size and (buffer[0] != 0 or size > HEAVY_BYTES)

    @property
    def size(self) -> int:
        """Number of bytes of a message that is not complete yet."""
        return len(self._buffer)


def decompress(message: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """Return the message uncompressed; memory use is limited to `max_bytes`."""
    if encoding in (b"", b"identity"):
        raise rejected(code_pb2.INTERNAL, "a message is compressed, and grpc-encoding is not set")
    try:
        inflate = zlib.decompressobj(_WINDOW[encoding])
        plain = inflate.decompress(message, max_bytes + 1)
    except zlib.error:
        raise rejected(
            code_pb2.INTERNAL, f"a message is not valid {encoding.decode('latin-1')}"
        ) from None
    if len(plain) > max_bytes:
        raise too_large(len(plain), max_bytes)
    if not inflate.eof:
        raise rejected(code_pb2.INTERNAL, "a compressed message is cut short")
    return plain


def check_encoding(encoding: bytes) -> None:
    """Raise Rejected unless the encoding is supported."""
    if encoding not in (b"", b"identity", *_WINDOW):
        raise rejected(
            code_pb2.UNIMPLEMENTED,
            f"grpc-encoding {encoding.decode('latin-1')!r} is not supported; "
            f"the supported ones are {ACCEPTED_ENCODINGS.decode()}",
        )


def too_large(size: int, max_bytes: int) -> Rejected:
    """Return the refusal of a request that is too large."""
    return refused(
        Exhausted(
            f"the message has {size:,} bytes or more; the limit is {max_bytes:,}",
            outcome=Outcome.NOT_APPLIED,
        )
    )


def refused(error: PrismError) -> Rejected:
    """Return a refusal with reason and outcome."""
    return Rejected(status_of(error))


def rejected(code: int, message: str) -> Rejected:
    """Return a refusal by the transport itself: no servicer saw the request."""
    status = status_pb2.Status(code=code, message=sendable(message))
    status.details.add().Pack(pb.WriteOutcome(outcome=pb.OUTCOME_NOT_APPLIED))
    return Rejected(status)
