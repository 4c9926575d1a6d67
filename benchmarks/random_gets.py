"""Gets of random keys by raw HTTP/2: `python -m benchmarks.random_gets ADDRESS KEYS SECONDS`.

h2load sends the same body every time. This client prepares a body for each request, so that
its own cost is small and independent of the number of keys. It goes over the wire, because in
process the processor's cache misses would be all that is measured.

https://www.rfc-editor.org/rfc/rfc9113.html
"""

from __future__ import annotations

import random
import socket
import sys
import time
from typing import Self

from benchmarks.h2load import VALUE, framed
from prism.v1 import keyvalue_pb2 as pb

_IN_FLIGHT = 64
_BODIES = 400_000
_WINDOW = (1 << 31) - 1

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _RESET, _SETTINGS, _PING, _GOAWAY, _WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
_ACK = _END_STREAM = 1
_END_HEADERS = 4
_INITIAL_WINDOW_SIZE = 4


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    header = len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big")
    return header + payload


def _indexed_header(name: bytes, value: bytes) -> bytes:
    """Return a header that the server adds to its dynamic table (RFC 7541, 6.2.1)."""
    return b"\x40" + bytes((len(name),)) + name + bytes((len(value),)) + value


def _first_block(authority: str) -> bytes:
    """Return the header block of the first call."""
    return b"".join(
        (
            b"\x83\x86",  # :method POST and :scheme http, from the static table
            _indexed_header(b":path", b"/prism.v1.KeyValueService/Get"),
            _indexed_header(b":authority", authority.encode()),
            _indexed_header(b"content-type", b"application/grpc"),
            _indexed_header(b"te", b"trailers"),
        )
    )


_NEXT_BLOCK = b"\x83\x86\xc1\xc0\xbf\xbe"
"""The same headers by their indexes in the dynamic table; the newest has index 62."""


def key(number: int) -> str:
    """Return the key with this number; all keys have the same length."""
    return f"random:{number:09}"


def _bodies(keys: int) -> list[bytes]:
    source = random.Random(1)  # noqa: S311
    return [
        framed(pb.GetRequest(key=key(int(source.random() * keys))).SerializeToString())
        for _ in range(_BODIES)
    ]


class Connection:
    """HTTP/2 connection that sends requests and counts replies of the expected size."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._socket = socket.create_connection((host, int(port)))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        window = _INITIAL_WINDOW_SIZE.to_bytes(2, "big") + _WINDOW.to_bytes(4, "big")
        more = (_WINDOW - 65_535).to_bytes(4, "big")
        self._socket.sendall(
            _PREFACE + _frame(_SETTINGS, 0, 0, window) + _frame(_WINDOW_UPDATE, 0, 0, more)
        )
        self._block = _first_block(address)
        self._stream = 1
        self._unread = b""
        entry = pb.Entry(value=VALUE, version=1)
        self._reply_bytes = len(framed(pb.GetResponse(entry=entry).SerializeToString()))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, bodies: list[bytes]) -> None:
        """Send one call for each body, in one write."""
        frames: list[bytes] = []
        for body in bodies:
            frames.append(_frame(_HEADERS, _END_HEADERS, self._stream, self._block))
            frames.append(_frame(_DATA, _END_STREAM, self._stream, body))
            self._stream += 2
            self._block = _NEXT_BLOCK
        self._socket.sendall(b"".join(frames))

    def read_replies(self) -> int:
        """Read once, and return the number of calls that ended."""
        data = self._unread + self._socket.recv(1 << 18)
        ended = position = 0
        while len(data) - position >= 9:
            size = int.from_bytes(data[position : position + 3], "big")
            kind, flags = data[position + 3], data[position + 4]
            end = position + 9 + size
            if end > len(data):
                break
            if kind == _HEADERS and flags & _END_STREAM:
                ended += 1
            elif kind == _DATA and size not in (0, self._reply_bytes):
                raise SystemExit(f"a reply has {size} bytes, expected {self._reply_bytes}")
            elif kind in (_SETTINGS, _PING) and not flags & _ACK:
                payload = data[position + 9 : end] if kind == _PING else b""
                self._socket.sendall(_frame(kind, _ACK, 0, payload))
            elif kind in (_RESET, _GOAWAY):
                raise SystemExit(f"the server ended a call or the connection (frame type {kind})")
            position = end
        self._unread = data[position:]
        return ended


def main(address: str, keys: int, seconds: float) -> float:
    """Return replies per second."""
    bodies = _bodies(keys)
    with Connection(address) as connection:
        connection.send(bodies[:_IN_FLIGHT])
        sent, answered = _IN_FLIGHT, 0
        start_s = time.perf_counter()
        while (now_s := time.perf_counter()) < start_s + seconds:
            ended = connection.read_replies()
            answered += ended
            begin = sent % _BODIES
            connection.send(bodies[begin : begin + ended])
            sent += ended
    return answered / (now_s - start_s)


if __name__ == "__main__":
    sys.stdout.write(f"{main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))}\n")
