"""gRPC's framing of messages, as far as a server sees it.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
https://github.com/grpc/grpc/blob/master/doc/compression.md
"""

from __future__ import annotations

import zlib

from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.calls import Rejected

PREFIX_BYTES = 5
"""One byte that says whether the message is compressed, four that say how long it is."""

ACCEPTED_ENCODINGS = b"identity,deflate,gzip"

# zlib's window sizes, which choose the format as well.
_WINDOW = {b"deflate": zlib.MAX_WBITS, b"gzip": zlib.MAX_WBITS | 16}


def frame(message: bytes) -> bytes:
    """A message as it is sent; ours are never compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Messages:
    """Cuts a stream of bytes into messages.

    Args:
        encoding: what the caller's `grpc-encoding` says.
        max_bytes: of one message, uncompressed.
    """

    def __init__(self, encoding: bytes, max_bytes: int) -> None:
        self._encoding = encoding
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        """More bytes from the caller."""
        self._buffer += data

    def next(self) -> bytes | None:
        """The next whole message; None while there is none.

        Raises:
            Rejected: it is too large, or compressed in a way not understood.
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
    def incomplete(self) -> bool:
        """Whether part of a message is left over."""
        return bool(self._buffer)


def decompress(message: bytes, encoding: bytes, max_bytes: int) -> bytes:
    """The message as it was before compression, never more of it than may be."""
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
    """Raises Rejected for one that is not understood."""
    if encoding not in (b"", b"identity", *_WINDOW):
        raise rejected(
            code_pb2.UNIMPLEMENTED,
            f"grpc-encoding {encoding.decode('latin-1')!r} is not understood; "
            f"accepted are {ACCEPTED_ENCODINGS.decode()}",
        )


def too_large(size: int, max_bytes: int) -> Rejected:
    """A refusal that no servicer saw."""
    return rejected(
        code_pb2.RESOURCE_EXHAUSTED,
        f"the message has {size:,} bytes or more; the limit is {max_bytes:,}",
    )


def rejected(code: int, message: str) -> Rejected:
    """A refusal by the transport itself, without details, as grpcio makes them."""
    return Rejected(status_pb2.Status(code=code, message=message))
