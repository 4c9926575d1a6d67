"""HTTP/2 connection that sends any frames, valid or not.

https://www.rfc-editor.org/rfc/rfc9113
https://www.rfc-editor.org/rfc/rfc7541
"""

from __future__ import annotations

import asyncio
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from enum import IntEnum
from typing import Self, cast

import hpack

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

WAIT_S = 20.0
"""Limit of every wait."""

_END_STREAM, _END_HEADERS, _ACK = 0x1, 0x4, 0x1
_INITIAL_WINDOW = 65_535
_MAX_FRAME = 16_384
_INITIAL_WINDOW_SIZE = 4

Header = tuple[str, str]


class Kind(IntEnum):
    """Types of frames (RFC 9113, section 6)."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


def frame(kind: Kind, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """Return one frame."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def message(data: bytes, *, compressed: bool = False) -> bytes:
    """Return a gRPC message with its prefix."""
    return bytes([compressed]) + struct.pack(">I", len(data)) + data


def header_block(headers: Iterable[Header]) -> bytes:
    """Return headers as literals that leave the peer's table unchanged."""
    return b"".join(
        b"\0" + _string(name.encode()) + _string(value.encode()) for name, value in headers
    )


def _string(text: bytes) -> bytes:
    return bytes(hpack.hpack.encode_integer(len(text), 7)) + text


def _text(part: bytes | str) -> str:
    return part if isinstance(part, str) else part.decode("latin-1")


def call_headers(path: str, *extra: Header, trailers: bool = True) -> list[Header]:
    """Return the headers of a gRPC call; `extra` follows, or replaces what has its name."""
    replaced = {name for name, _ in extra}
    usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "attack"),
        ("content-type", "application/grpc"),
        *([("te", "trailers")] if trailers else []),
    ]
    kept = [each for each in usual if each[0] not in replaced]
    return sorted([*kept, *extra], key=lambda header: not header[0].startswith(":"))


class Peer:
    """One connection.

    Attributes:
        statuses: number of answers by `grpc-status`, or by HTTP status where there is none.
        outcomes: `grpc-status` by stream.
        resets: number of streams that the server reset.
        received: bytes of the bodies of replies.
        closed: why the server ended the connection; empty: it is open.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, reads: bool
    ) -> None:
        self.statuses: Counter[str] = Counter()
        self.outcomes: dict[int, str] = {}
        self.resets = 0
        self.received = 0
        self.closed = ""
        self._reads = reads
        self._reader, self._writer = reader, writer
        self._decoder = hpack.Decoder()
        self._next_stream = 1
        self._window = _INITIAL_WINDOW
        self._stream_window = _INITIAL_WINDOW
        self._windows: dict[int, int] = {}
        self._changed = asyncio.Event()
        self._receiving = asyncio.create_task(self._receive())

    @classmethod
    @asynccontextmanager
    async def connect(
        cls, port: int, *, window: int = 1 << 20, reads: bool = True
    ) -> AsyncIterator[Self]:
        """Connect to a port of this machine.

        Args:
            window: size of reply that the server may send on a stream before it is read.
            reads: whether the windows are opened again when replies arrive.
        """
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        peer = cls(reader, writer, reads=reads)
        peer.write(PREFACE, frame(Kind.SETTINGS, payload=struct.pack(">HI", 4, window)))
        if reads:
            peer.write(frame(Kind.WINDOW_UPDATE, payload=struct.pack(">I", 1 << 30)))
        try:
            yield peer
        finally:
            peer._receiving.cancel()
            writer.close()

    def write(self, *data: bytes) -> None:
        """Send raw bytes; nothing happens once the connection has ended."""
        if not self.closed and not self._writer.is_closing():
            self._writer.writelines(data)

    def abort(self) -> None:
        """End the connection without saying so."""
        self._receiving.cancel()
        self._writer.transport.abort()

    async def drain(self) -> None:
        """Wait until the server takes more bytes, or has ended the connection."""
        try:
            await self._writer.drain()
        except OSError as error:
            self.closed = self.closed or type(error).__name__

    def pause_reading(self) -> None:
        """Take nothing more from the server."""
        self._receiving.cancel()
        transport = cast("asyncio.ReadTransport", self._writer.transport)
        transport.pause_reading()

    def call(
        self, path: str, body: bytes | None = None, *extra: Header, trailers: bool = True
    ) -> int:
        """Begin a call, and return its stream; without a body it stays open.

        A body must fit into one frame and into the window of the server.
        """
        block = header_block(call_headers(path, *extra, trailers=trailers))
        return self.send_headers(block, body)

    def send_headers(self, block: bytes, body: bytes | None = None) -> int:
        """Begin a stream with an encoded block of headers, and return it."""
        stream, self._next_stream = self._next_stream, self._next_stream + 2
        headers = frame(Kind.HEADERS, _END_HEADERS, stream, block)
        if body is None:
            self.write(headers)
        else:
            self._window -= len(body)
            self.write(headers, frame(Kind.DATA, _END_STREAM, stream, body))
        return stream

    async def send(self, stream: int, data: bytes, *, end: bool = False) -> None:
        """Send a part of a body as fast as the server's windows allow."""
        rest = memoryview(data)
        while rest and not self.closed and stream not in self.outcomes:
            size = min(self._window, self._window_of(stream), len(rest), _MAX_FRAME)
            if size <= 0:
                self._changed.clear()
                await self._changed.wait()
                continue
            self._window -= size
            self._windows[stream] = self._windows.get(stream, 0) - size
            part, rest = rest[:size], rest[size:]
            last = end and not rest
            self.write(frame(Kind.DATA, _END_STREAM if last else 0, stream, bytes(part)))
            await self.drain()

    def reset(self, stream: int) -> None:
        """Cancel a call."""
        self.write(frame(Kind.RST_STREAM, 0, stream, struct.pack(">I", 8)))

    def open_windows(self, *streams: int, size: int) -> None:
        """Let the server send more on the connection and on these streams."""
        payload = struct.pack(">I", size)
        self.write(*(frame(Kind.WINDOW_UPDATE, 0, each, payload) for each in (0, *streams)))

    @property
    def answered(self) -> int:
        """Number of streams that have ended."""
        return len(self.outcomes) + self.resets

    async def wait_answered(self, count: int, within_s: float = WAIT_S) -> bool:
        """Return whether this many streams, or the connection, ended in time."""
        return await self._wait_for(lambda: self.answered >= count or bool(self.closed), within_s)

    async def wait_closed(self, within_s: float = WAIT_S) -> bool:
        """Return whether the server ends the connection in time."""
        return await self._wait_for(lambda: bool(self.closed), within_s)

    async def _wait_for(self, condition: Callable[[], bool], within_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        return condition()

    def _window_of(self, stream: int) -> int:
        return self._windows.get(stream, 0) + self._stream_window

    async def _receive(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
                stream = int.from_bytes(head[5:], "big")
                self._take(kind, flags, stream, await self._reader.readexactly(size))
                self._changed.set()
        except (OSError, asyncio.IncompleteReadError) as error:
            self.closed = self.closed or type(error).__name__
            self._changed.set()

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == Kind.DATA:
            self.received += len(payload)
            if self._reads and payload:
                self.open_windows(stream, size=len(payload))
        elif kind == Kind.HEADERS:
            headers = {_text(name): _text(value) for name, value in self._decoder.decode(payload)}
            if "grpc-status" in headers:
                self._end(stream, headers["grpc-status"])
            elif flags & _END_STREAM or headers.get(":status") != "200":
                self._end(stream, f"HTTP {headers.get(':status')}")
        elif kind == Kind.RST_STREAM:
            if stream not in self.outcomes:
                self.resets += 1
        elif kind == Kind.SETTINGS and not flags & _ACK:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack_from(">HI", payload, at)
                if name == _INITIAL_WINDOW_SIZE:
                    self._stream_window = value
            self.write(frame(Kind.SETTINGS, _ACK))
        elif kind == Kind.PING and not flags & _ACK:
            self.write(frame(Kind.PING, _ACK, payload=payload))
        elif kind == Kind.WINDOW_UPDATE:
            (size,) = struct.unpack(">I", payload)
            if stream:
                self._windows[stream] = self._windows.get(stream, 0) + size
            else:
                self._window += size
        elif kind == Kind.GOAWAY:
            self.closed = f"GOAWAY {payload[8:].decode('latin-1') or payload[7]}"

    def _end(self, stream: int, status: str) -> None:
        if stream not in self.outcomes:
            self.outcomes[stream] = status
            self.statuses[status] += 1
