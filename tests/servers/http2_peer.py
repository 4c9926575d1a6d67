"""Server of HTTP/2 whose every frame a test decides; it can speak gRPC."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    PingAckReceived,
    PingReceived,
    RequestReceived,
    StreamEnded,
    StreamReset,
)
from h2.settings import SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

Header = tuple[str, str]

_START: list[Header] = [(":status", "200"), ("content-type", "application/grpc")]


class Peer(asyncio.Protocol):
    """The server's end of one connection.

    Attributes:
        requests: headers of each stream that has begun.
        received: what arrived on each stream.
        ended: streams whose client has ended them.
        resets: streams that the client has reset, with the error code.
        pings: number of pings that arrived.
        gone: whether the connection has ended.
        reads: whether it reports to the client what it has read.
    """

    def __init__(self, settings: dict[SettingCodes, int], made: Callable[[Peer], object]) -> None:
        self.codec = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        self.codec.local_settings = Settings(client=False, initial_values=settings)
        self.requests: dict[int, dict[str, str]] = {}
        self.received: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.resets: dict[int, int] = {}
        self.pings = 0
        self.gone = False
        self.reads = True
        self._made = made
        self._unread: list[tuple[int, int]] = []
        self.transport: asyncio.Transport
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a condition, which is looked at after everything that arrives."""
        async with asyncio.timeout(10):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def stream(self, number: int = 1) -> int:
        """Wait for this many streams, and return the last one's id."""
        await self.until(lambda: len(self.requests) >= number)
        return list(self.requests)[number - 1]

    def start(self, stream: int) -> None:
        """Begin the answer of a stream."""
        self.codec.send_headers(stream, _START)
        self.flush()

    def send(self, stream: int, *messages: bytes) -> None:
        """Send messages of gRPC, which must fit into the windows."""
        for message in messages:
            self.raw(stream, b"\0" + len(message).to_bytes(4, "big") + message)

    def raw(self, stream: int, data: bytes, *, last: bool = False) -> None:
        """Send data in frames of the largest size."""
        size = self.codec.max_outbound_frame_size
        parts = [data[at : at + size] for at in range(0, len(data), size)] or [b""]
        for number, part in enumerate(parts, 1):
            self.codec.send_data(stream, part, end_stream=last and number == len(parts))
        self.flush()

    def finish(self, stream: int, *trailers: Header, status: int = 0) -> None:
        """End a stream that has begun with a status."""
        self.codec.send_headers(stream, [("grpc-status", str(status)), *trailers], end_stream=True)
        self.flush()

    def answer(self, stream: int, message: bytes) -> None:
        """Answer a unary call."""
        self.start(stream)
        self.send(stream, message)
        self.finish(stream)

    def refuse(self, stream: int, *headers: Header) -> None:
        """Answer with headers alone."""
        self.codec.send_headers(stream, list(headers), end_stream=True)
        self.flush()

    def reset(self, stream: int, code: ErrorCodes) -> None:
        """Reset a stream."""
        self.codec.reset_stream(stream, code)
        self.flush()

    def go_away(self, last_stream: int, data: bytes = b"", code: int = 0) -> None:
        """Tell the client that no stream after this one was begun; go on with the others."""
        frame = GoAwayFrame(0, last_stream_id=last_stream, additional_data=data, error_code=code)
        self.transport.write(frame.serialize())

    def read(self) -> None:
        """Tell the client that everything that it sent so far was read."""
        for size, stream in self._unread:
            self.codec.acknowledge_received_data(size, stream)
        self._unread.clear()
        self.flush()

    def flush(self) -> None:
        """Send the frames that the codec has made."""
        self.transport.write(self.codec.data_to_send())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._made(self)
        self.codec.initiate_connection()
        self.flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone = True
        self._changed.set()

    def data_received(self, data: bytes) -> None:
        for event in self.codec.receive_data(data):
            if isinstance(event, RequestReceived):
                fields = cast("list[Header]", event.headers)
                self.requests[event.stream_id] = dict(fields)
            elif isinstance(event, DataReceived):
                self.received[event.stream_id] = (
                    self.received.get(event.stream_id, b"") + event.data
                )
                self._unread.append((event.flow_controlled_length, event.stream_id))
            elif isinstance(event, StreamEnded):
                self.ended.add(event.stream_id)
            elif isinstance(event, StreamReset):
                self.resets[event.stream_id] = int(event.error_code)
            elif isinstance(event, PingReceived | PingAckReceived):
                self.pings += 1
        if self.reads:
            self.read()
        self.flush()
        self._changed.set()


class Peers:
    """A listening server, and the connections that it got.

    Attributes:
        address: `host:port` of it.
    """

    def __init__(self) -> None:
        self.address = ""
        self._all: list[Peer] = []
        self._came = asyncio.Event()

    async def peer(self, number: int = 1) -> Peer:
        """Wait for this many connections, and return the last one's end."""
        async with asyncio.timeout(10):
            while len(self._all) < number:
                self._came.clear()
                await self._came.wait()
        return self._all[number - 1]

    def add(self, peer: Peer) -> None:
        """Note a connection."""
        self._all.append(peer)
        self._came.set()

    def __len__(self) -> int:
        return len(self._all)


@asynccontextmanager
async def http2_peers(
    context: ssl.SSLContext | None = None, /, **settings: int
) -> AsyncIterator[Peers]:
    """Listen on a free port.

    Args:
        context: TLS; None: plain text.
        settings: those of HTTP/2, such as INITIAL_WINDOW_SIZE.
    """
    peers = Peers()
    values = {SettingCodes[name.upper()]: value for name, value in settings.items()}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Peer(values, peers.add), "127.0.0.1", 0, ssl=context)
    peers.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield peers
    finally:
        server.close()
        for number in range(len(peers)):
            peer = await peers.peer(number + 1)
            if not peer.gone:
                peer.transport.abort()
        await asyncio.sleep(0)
