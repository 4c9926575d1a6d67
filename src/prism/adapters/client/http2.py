"""One HTTP/2 connection of a client, over asyncio.

The package `h2` encodes and decodes frames; this module moves them: flow control in both
directions, the limit on streams, pings, and the end of the connection.

https://www.rfc-editor.org/rfc/rfc9113
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamReset,
    TrailersReceived,
    WindowUpdated,
)
from h2.exceptions import ProtocolError
from h2.frame_buffer import FrameBuffer
from h2.settings import SettingCodes, Settings
from hyperframe.frame import DataFrame, Frame, GoAwayFrame

from prism.adapters.client.connection_errors import reason_of, reason_of_first_bytes
from prism.adapters.client.forks import leave_to_parent
from prism.adapters.client.http2_stream import (
    STREAM_WINDOW,
    Headers,
    Http2Stream,
    Receiver,
    StreamLost,
)

# The room of a stream returns when its messages are read, that of the connection at once: a
# stream that nobody reads delays no other.
_CONNECTION_WINDOW = 16 << 20
_INITIAL_WINDOW = 65_535

# Each frame costs the codec the same; by default a server sends 16 KB in one.
_MAX_FRAME_BYTES = 256 << 10

_LAST_STREAM_ID = (1 << 31) - 1
_FIRST_BYTES = 64
_CLOSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Pings:
    """When a connection with open streams is pinged, and given up.

    Attributes:
        after_s: time without anything from the server after which it is pinged, at the latest
            after twice as long.
        timeout_s: time for anything to arrive after a ping.
    """

    after_s: float
    timeout_s: float


class _DataFrame(DataFrame):
    """Frame with a short representation.

    `H2Connection` makes the representation of every frame, for a log that nobody reads. With
    the bytes it costs as much as the rest of a large message.
    """

    def __repr__(self) -> str:
        return "DATA"


class _FrameBuffer(FrameBuffer):
    def __next__(self) -> Frame:
        frame = super().__next__()
        if type(frame) is DataFrame:
            frame.__class__ = _DataFrame
        return frame


class _Codec(H2Connection):
    """`H2Connection` that goes on with the open streams after a GOAWAY.

    Its own state machine ends every stream then, while the server still answers them.
    """

    def __init__(self, config: H2Configuration) -> None:
        super().__init__(config)
        self.incoming_buffer = _FrameBuffer(server=False)
        self._frame_dispatch_table[_DataFrame] = self._receive_data_frame

    def _receive_goaway_frame(self, frame: GoAwayFrame) -> tuple[list[Frame], list[Event]]:
        event = ConnectionTerminated()
        event.error_code = frame.error_code
        event.last_stream_id = frame.last_stream_id
        event.additional_data = frame.additional_data or None
        return [], [event]


def _new_codec() -> H2Connection:
    codec = _Codec(H2Configuration(client_side=True, header_encoding=None))
    codec.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.INITIAL_WINDOW_SIZE: STREAM_WINDOW,
            SettingCodes.MAX_HEADER_LIST_SIZE: 64 << 10,
            SettingCodes.MAX_FRAME_SIZE: _MAX_FRAME_BYTES,
        },
    )
    codec.max_inbound_frame_size = _MAX_FRAME_BYTES
    codec.initiate_connection()
    codec.increment_flow_control_window(_CONNECTION_WINDOW - _INITIAL_WINDOW)
    return codec


class Http2Connection(asyncio.BufferedProtocol):
    """One connection, until either side ends it.

    Args:
        pings: how silence is noticed; None: it is not.
        on_lost: called once when the connection has ended, with the reason; None: not reported.

    Attributes:
        ready: done when the server has answered as HTTP/2; its exception is a `StreamLost`.
        reason: why it has ended; None: it is open.
        leaving: whether no more streams may begin on it.
        doubtful: whether it was silent, and has not answered the ping that followed yet.
    """

    def __init__(self, pings: Pings | None, on_lost: Callable[[str], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self.reason: str | None = None
        self.leaving = False
        self.doubtful = False
        self._pings = pings
        self._on_lost = on_lost
        self._codec = _new_codec()
        self._transport: asyncio.Transport | None = None
        # Kept: asyncio would allocate as much for each read, which costs more than a small read.
        self._read_buffer = memoryview(bytearray(_MAX_FRAME_BYTES))
        self._streams: dict[int, Http2Stream] = {}
        self._blocked: dict[int, Http2Stream] = {}
        self._waiting_for_room: deque[asyncio.Future[None]] = deque()
        self._paused = False
        self._heard = False
        self._timer: asyncio.TimerHandle | None = None
        self._first_bytes = b""
        self._unreturned = 0
        self._farewell = ""
        self._handlers: dict[type[Event], Callable[[Any], None]] = {
            ConnectionTerminated: self._on_goaway,
            DataReceived: self._on_data,
            RemoteSettingsChanged: self._on_settings,
            ResponseReceived: self._on_headers,
            StreamReset: self._on_reset,
            TrailersReceived: self._on_headers,
            WindowUpdated: self._on_window,
        }

    @property
    def usable(self) -> bool:
        """Whether streams may begin."""
        return self.reason is None and not self.leaving

    @property
    def descriptor(self) -> int:
        """Number of the socket's descriptor; negative: it is closed."""
        transport = self._transport
        if transport is None or self._closed.done():
            return -1
        descriptor: int = transport.get_extra_info("socket").fileno()
        return descriptor

    async def open(
        self, headers: Headers, receiver: Receiver, data: bytes = b"", *, last: bool = False
    ) -> Http2Stream:
        """Begin a stream, once the server permits another one.

        Args:
            data: what to send after the headers.
            last: whether nothing follows that.

        Raises:
            StreamLost: the connection cannot be used; the server has not seen the request.
        """
        while True:
            if not self.usable:
                raise StreamLost(self.reason or "the server is leaving", unseen=True)
            if len(self._streams) < self._codec.remote_settings.max_concurrent_streams:
                break
            await self._room()
        identity = self._codec.get_next_available_stream_id()
        if identity + 2 > _LAST_STREAM_ID:
            self.leaving = True
        self._codec.send_headers(identity, headers)
        stream = self._streams[identity] = Http2Stream(self, identity, receiver)
        if self._timer is None and self._pings is not None:
            self._heard = False
            self._timer = self._loop.call_later(self._pings.after_s, self._check)
        if data or last:
            stream.send(data, last=last)
        else:
            self._flush()
        return stream

    async def _room(self) -> None:
        waiter = self._loop.create_future()
        self._waiting_for_room.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            # The place that it had been given goes to another one.
            self._give_room()
            raise

    def _give_room(self) -> None:
        while self._waiting_for_room:
            waiter = self._waiting_for_room.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def send_waiting(self, stream: Http2Stream) -> None:
        """Send what the windows and the socket permit of a stream's data."""
        if stream.id not in self._streams:
            return
        while stream.waiting and self._send_frame(stream):
            pass
        if stream.waiting:
            self._blocked[stream.id] = stream
        self._flush()

    def _send_frame(self, stream: Http2Stream) -> bool:
        """Send one frame of the data that waits; False: not now."""
        if self._paused:
            return False
        try:
            return self._try_to_send_frame(stream)
        except ProtocolError:
            # The codec knows the end of a stream before its last events are handled.
            stream.waiting.clear()
            self._blocked.pop(stream.id, None)
            return False

    def _try_to_send_frame(self, stream: Http2Stream) -> bool:
        data = stream.waiting[0]
        size = len(data)
        if size:
            codec = self._codec
            room = min(codec.local_flow_control_window(stream.id), codec.max_outbound_frame_size)
            if room <= 0:
                return False
            if size > room:
                stream.waiting[0] = data[room:]
                codec.send_data(stream.id, data[:room])
                self._flush()
                return True
        stream.waiting.popleft()
        self._codec.send_data(stream.id, data, end_stream=stream.ending and not stream.waiting)
        return True

    def _send_blocked(self) -> None:
        """Send a frame of each blocked stream in turn, until nothing more can be sent."""
        progress = True
        while progress and self._blocked:
            progress = False
            for stream in tuple(self._blocked.values()):
                if self._send_frame(stream):
                    progress = True
                    if not stream.waiting:
                        del self._blocked[stream.id]
                        stream.receiver.on_writable()

    def return_window(self, stream: Http2Stream, size: int) -> None:
        """Let the server send more on a stream."""
        if stream.id in self._streams:
            # The codec knows the end of a stream before its last events are handled.
            with suppress(ProtocolError):
                self._codec.increment_flow_control_window(size, stream.id)
            self._flush()

    def reset(self, stream: Http2Stream) -> None:
        """End a stream that nobody waits for. Safe more than once."""
        if self._streams.get(stream.id) is stream:
            with suppress(ProtocolError):
                self._codec.reset_stream(stream.id, ErrorCodes.CANCEL)
            self._forget(stream)
            self._flush()

    def _forget(self, stream: Http2Stream) -> None:
        self._streams.pop(stream.id, None)
        self._blocked.pop(stream.id, None)
        self._give_room()
        if self.leaving and not self._streams:
            self._close_transport()

    def retire(self) -> None:
        """Begin no more streams; the connection closes when the open ones have ended."""
        self.leaving = True
        while self._waiting_for_room:
            self._give_room()
        if not self._streams:
            self._close_transport()

    async def close(self) -> None:
        """End the connection and its streams. Safe more than once."""
        self._close_transport()
        self._lose("the connection was closed", abort=False)
        if self._transport is None:
            # The loop may be about to say that a connection was made, and lost.
            await asyncio.sleep(0)
        else:
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_S):
                    await asyncio.shield(self._closed)
                    return
            self._transport.abort()
            await self._closed

    def _close_transport(self) -> None:
        self.leaving = True
        if self._transport is None or self._transport.is_closing():
            return
        with suppress(ProtocolError):
            self._codec.close_connection()
            self._flush()
        self._transport.close()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        leave_to_parent(self)
        self._flush()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._read_buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = self._read_buffer[:nbytes]
        self._heard = True
        self.doubtful = False
        if self._transport is None or self._transport.is_closing():
            return
        if not self.ready.done():
            self._first_bytes += data[:_FIRST_BYTES]
        try:
            for event in self._codec.receive_data(data):
                handler = self._handlers.get(type(event))
                if handler is not None:
                    handler(event)
        except ProtocolError as error:
            self._lose(self._words_of(error), abort=False)
            self._flush()
            self._transport.close()
            return
        if self._unreturned > _CONNECTION_WINDOW // 4:
            self._codec.increment_flow_control_window(self._unreturned)
            self._unreturned = 0
        self._flush()

    def _words_of(self, error: ProtocolError) -> str:
        if not self.ready.done():
            return reason_of_first_bytes(self._first_bytes)
        return f"the server broke the rules of HTTP/2: {error}"

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send_blocked()
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            reason = reason_of(exc)
        elif self.ready.done():
            reason = "the server closed the connection"
        else:
            reason = reason_of_first_bytes(self._first_bytes)
        if self._farewell:
            reason = f"the server ended the connection: {self._farewell}"
        self._lose(reason, abort=False)
        if not self._closed.done():
            self._closed.set_result(None)

    # What the server sends.

    def _on_settings(self, event: RemoteSettingsChanged) -> None:
        if not self.ready.done():
            self._first_bytes = b""
            self.ready.set_result(None)
        room = self._codec.remote_settings.max_concurrent_streams - len(self._streams)
        for _ in range(min(room, len(self._waiting_for_room))):
            self._give_room()
        self._send_blocked()

    def _on_window(self, event: WindowUpdated) -> None:
        self._send_blocked()

    def _on_headers(self, event: ResponseReceived | TrailersReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            last = event.stream_ended is not None
            if last:
                self._end(stream)
            stream.receiver.on_headers(event.headers, last=last)

    def _on_data(self, event: DataReceived) -> None:
        self._unreturned += event.flow_controlled_length
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            last = event.stream_ended is not None
            if last:
                self._end(stream)
            stream.receiver.on_data(event.data, last=last)

    def _end(self, stream: Http2Stream) -> None:
        """Forget a stream that the server has ended, and end its other direction."""
        if not stream.ending or stream.waiting:
            with suppress(ProtocolError):
                self._codec.end_stream(stream.id)
        self._forget(stream)

    def _on_reset(self, event: StreamReset) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        self._forget(stream)
        code = int(event.error_code)
        name = event.error_code.name if isinstance(event.error_code, ErrorCodes) else str(code)
        refused = code == ErrorCodes.REFUSED_STREAM
        stream.receiver.on_lost(
            StreamLost(f"the server reset the stream ({name})", code=code, unseen=refused)
        )

    def _on_goaway(self, event: ConnectionTerminated) -> None:
        if event.additional_data:
            self._farewell = event.additional_data.decode("utf-8", "replace")
        elif event.error_code and event.error_code in list(ErrorCodes):
            self._farewell = ErrorCodes(event.error_code).name
        last = event.last_stream_id or 0
        unseen = [each for key, each in self._streams.items() if key > last]
        self.leaving = True
        for stream in unseen:
            self._streams.pop(stream.id)
            self._blocked.pop(stream.id, None)
        self.retire()
        for stream in unseen:
            reason = self._farewell or "the server is leaving"
            stream.receiver.on_lost(StreamLost(reason, unseen=True))
        for stream in tuple(self._streams.values()):
            stream.receiver.on_leaving()

    # Silence, and the end.

    def _check(self) -> None:
        """Ping a server that was silent since the last check, while streams are open."""
        self._timer = None
        if self._pings is None or not self._streams or self.reason is not None:
            return
        if self._heard:
            self._heard = False
            self._timer = self._loop.call_later(self._pings.after_s, self._check)
            return
        self.doubtful = True
        self._codec.ping(b"prism-kv")
        self._flush()
        self._timer = self._loop.call_later(self._pings.timeout_s, self._judge)

    def _judge(self) -> None:
        if self._heard:
            self._check()
        else:
            self._timer = None
            self._lose("the server stopped answering", abort=True)

    def _lose(self, reason: str, *, abort: bool) -> None:
        """End every stream, because the connection has ended."""
        if self.reason is not None:
            return
        self.reason = reason
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if abort and self._transport is not None:
            self._transport.abort()
        if not self.ready.done():
            self.ready.set_exception(StreamLost(reason, unseen=True))
            # Retrieved even if no caller waits, or asyncio would log it.
            self.ready.exception()
        streams = tuple(self._streams.values())
        self._streams.clear()
        self._blocked.clear()
        while self._waiting_for_room:
            self._give_room()
        for stream in streams:
            stream.receiver.on_lost(StreamLost(reason))
        if self._on_lost is not None:
            self._on_lost(reason)

    def _flush(self) -> None:
        data = self._codec.data_to_send()
        if data and self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)
