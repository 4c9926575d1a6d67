"""gRPC over a stream of HTTP/2: unary calls, and streams of messages.

https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import random
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Self
from urllib.parse import unquote_to_bytes

from google.rpc import code_pb2
from h2.errors import ErrorCodes

from prism.adapters.client.endpoint import Endpoint
from prism.adapters.client.http2 import Http2Connection
from prism.adapters.client.http2_stream import Headers, Http2Stream, StreamLost
from prism.version import VERSION

Metadata = Sequence[tuple[str, str]]

_PREFIX_BYTES = 5
_MAX_MESSAGE_BYTES = (1 << 31) - 1
"""The highest limit that a server can have: a longer message cannot be framed."""

_READ_AHEAD_BYTES = 1 << 20
"""Size of the messages of a stream that may wait for their reader while more are asked for."""

_LONGEST_S = 99_999_999

_MOVES = 4
"""How often a call that no server has begun is made again."""

_FIRST_PAUSE_S = 0.01

_FIXED: Headers = [
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
    (b"user-agent", f"prism/{VERSION}".encode()),
]

# https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md
_CODE_OF_HTTP = {
    400: code_pb2.INTERNAL,
    401: code_pb2.UNAUTHENTICATED,
    403: code_pb2.PERMISSION_DENIED,
    404: code_pb2.UNIMPLEMENTED,
    429: code_pb2.UNAVAILABLE,
    502: code_pb2.UNAVAILABLE,
    503: code_pb2.UNAVAILABLE,
    504: code_pb2.UNAVAILABLE,
}
_CODE_OF_RESET = {
    ErrorCodes.REFUSED_STREAM: code_pb2.UNAVAILABLE,
    ErrorCodes.CANCEL: code_pb2.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: code_pb2.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: code_pb2.PERMISSION_DENIED,
}


class CallFailed(Exception):
    """A call ended without the status OK.

    Attributes:
        code: code of the status.
        message: text of the status.
        details: encoded `google.rpc.Status` that a server sent; None: it sent none.
        unseen: whether the server has certainly not begun the call.
        moved: whether the server, which has not begun it, may take it on another connection.
        refused: whether the connection has no room for it now, and may have room later: a server
            may still count streams that its client has cancelled.
    """

    def __init__(
        self,
        code: int,
        message: str,
        *,
        details: bytes | None = None,
        unseen: bool = False,
        moved: bool = False,
        refused: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.details = details
        self.unseen = unseen
        self.moved = moved
        self.refused = refused

    @classmethod
    def not_connected(cls, lost: StreamLost) -> Self:
        """Return the failure of a call for which there is no connection."""
        return cls(code_pb2.UNAVAILABLE, lost.reason, unseen=True)

    @classmethod
    def of_stream(cls, lost: StreamLost) -> Self:
        """Return the failure of a call whose stream was lost."""
        code = code_pb2.UNAVAILABLE
        if lost.code is not None:
            code = _CODE_OF_RESET.get(ErrorCodes(lost.code), code_pb2.INTERNAL)
        refused = lost.code == ErrorCodes.REFUSED_STREAM
        return cls(code, lost.reason, unseen=lost.unseen, moved=lost.unseen, refused=refused)

    async def may_move(self, moves: int) -> bool:
        """Return whether to make the call again, after a pause if the connection had no room.

        Args:
            moves: how many times it was made again before.
        """
        if not self.moved or moves >= _MOVES:
            return False
        if self.refused:
            await asyncio.sleep(_FIRST_PAUSE_S * 4**moves * random.uniform(0.5, 1))  # noqa: S311
        return True


def request_headers(
    endpoint: Endpoint,
    path: str,
    metadata: Metadata = (),
    *,
    tls: bool = False,
    timeout_s: float | None = None,
) -> Headers:
    """Return the headers of a call.

    Args:
        timeout_s: seconds until the deadline, which the server enforces; None: there is none.
    """
    headers = [
        (b":method", b"POST"),
        (b":scheme", b"https" if tls else b"http"),
        (b":path", path.encode()),
        (b":authority", endpoint.authority),
        *_FIXED,
    ]
    if timeout_s is not None:
        headers.append((b"grpc-timeout", _timeout(timeout_s)))
    headers.extend((name.encode(), value.encode()) for name, value in metadata)
    return headers


def _timeout(seconds: float) -> bytes:
    """Encode a timeout, which has eight digits at most, in the finest unit that holds it."""
    for unit, per_second in ((b"u", 1_000_000), (b"m", 1000)):
        number = max(1, int(seconds * per_second))
        if number <= _LONGEST_S:
            return b"%d%b" % (number, unit)
    return b"%dS" % min(int(seconds), _LONGEST_S)


def framed(message: bytes) -> bytes:
    """Return a message with its prefix: not compressed, and its length."""
    return b"\0" + len(message).to_bytes(4, "big") + message


class Call:
    """One call, which receives what its stream brings; subclasses take messages and the end."""

    def __init__(self) -> None:
        self._stream: Http2Stream | None = None
        self._begun = False
        self._over = False
        self._finished = False
        # Parts of messages that are not complete, joined once they are: every byte is copied
        # as seldom as possible, which is what large messages cost.
        self._parts: list[bytes] = []
        self._received = 0
        self._needed = _PREFIX_BYTES

    async def begin(
        self,
        connection: Http2Connection,
        headers: Headers,
        message: bytes | None = None,
        *,
        last: bool = False,
    ) -> None:
        """Begin the call.

        Args:
            message: first message; None: none yet.
            last: whether no other message follows.

        Raises:
            CallFailed: the connection cannot be used any more.
        """
        data = b"" if message is None else framed(message)
        try:
            self._stream = await connection.open(headers, self, data, last=last)
        except StreamLost as lost:
            raise CallFailed.of_stream(lost) from None
        if self._over:
            self.cancel()
        elif self._finished:
            self.finish_sending()

    @property
    def is_writable(self) -> bool:
        """Whether everything that was written has been sent."""
        return self._stream is not None and not self._stream.waiting

    def send(self, message: bytes) -> None:
        """Send a message, or keep it until the server lets it be sent."""
        if self._stream is not None and not self._over:
            self._stream.send(framed(message))

    def finish_sending(self) -> None:
        """Tell the server that no other message follows."""
        self._finished = True
        if self._stream is not None and not self._over:
            self._stream.send(b"", last=True)

    def cancel(self) -> None:
        """Tell the server that nobody waits any more; nothing is taken after this."""
        self._over = True
        if self._stream is not None:
            self._stream.cancel()

    def message_arrived(self, message: bytes) -> None:
        """Take a message."""
        raise NotImplementedError

    def ended(self, failed: CallFailed | None) -> None:
        """Take the end; None: the status is OK. Called once, unless the call is cancelled."""
        raise NotImplementedError

    def on_writable(self) -> None: ...

    def on_leaving(self) -> None: ...

    def on_headers(self, headers: Iterable[tuple[bytes, bytes]], *, last: bool) -> None:
        fields = dict(headers)
        begun, self._begun = self._begun, True
        if not begun:
            code = _code_of_response(fields)
            if code is not None:
                status = fields.get(b":status", b"?").decode("latin-1")
                self._fail(code, f"it answered with HTTP status {status}, and not as gRPC")
                return
        if last:
            self._end(_failure_of(fields))

    def on_data(self, data: bytes, *, last: bool) -> None:
        if self._over:
            return
        if not self._parts and len(data) >= _PREFIX_BYTES and not data[0]:
            size = _PREFIX_BYTES + int.from_bytes(data[1:5], "big")
            if size == len(data):
                # Nearly always, one frame has one message.
                self._take(data[_PREFIX_BYTES:], size)
                data = b""
        if data:
            self._assemble(data)
        if last and not self._over:
            self._fail(code_pb2.INTERNAL, "the server ended the call without a status")

    def on_lost(self, lost: StreamLost) -> None:
        self._end(CallFailed.of_stream(lost))

    def _assemble(self, data: bytes) -> None:
        self._parts.append(data)
        self._received += len(data)
        if self._received < self._needed:
            # Of a message that has begun, the rest may always come.
            self._make_room(len(data))
            return
        received = b"".join(self._parts)
        self._parts.clear()
        start = 0
        while len(received) - start >= _PREFIX_BYTES:
            if received[start]:
                self._fail(
                    code_pb2.INTERNAL,
                    "the server compressed a message, which this client did not ask for",
                )
                return
            size = int.from_bytes(received[start + 1 : start + _PREFIX_BYTES], "big")
            if size > _MAX_MESSAGE_BYTES:
                self._fail(
                    code_pb2.RESOURCE_EXHAUSTED,
                    f"the server sent a message of {size:,} bytes, more than any may have",
                )
                return
            end = start + _PREFIX_BYTES + size
            if len(received) < end:
                self._needed = end - start
                break
            self._take(received[start + _PREFIX_BYTES : end], 0)
            start = end
        else:
            self._needed = _PREFIX_BYTES
        self._received = len(received) - start
        if self._received:
            self._parts.append(received[start:])
        self._make_room(len(data))

    def _take(self, message: bytes, size: int) -> None:
        self.message_arrived(message)
        if size:
            self._make_room(size)

    def _make_room(self, size: int) -> None:
        """Let the server send more, because this many bytes were taken."""
        if self._stream is not None:
            self._stream.make_room(size)

    def _fail(self, code: int, message: str) -> None:
        """End the call, because the server does not do what gRPC requires."""
        if self._stream is not None:
            self._stream.cancel()
        self._end(CallFailed(code, message))

    def _end(self, failed: CallFailed | None) -> None:
        if not self._over:
            self._over = True
            self.ended(failed)


class UnaryCall(Call):
    """Call with one message each way."""

    def __init__(self) -> None:
        super().__init__()
        self._reply: bytes | None = None
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(self) -> bytes:
        """Return the reply; leaving cancels the call.

        Raises:
            CallFailed: the call failed.
        """
        try:
            return await self._answer
        finally:
            self.cancel()

    def message_arrived(self, message: bytes) -> None:
        self._reply = message

    def ended(self, failed: CallFailed | None) -> None:
        if self._answer.done():
            return
        if failed is None and self._reply is None:
            failed = CallFailed(code_pb2.INTERNAL, "the server ended the call without an answer")
        if failed is not None:
            self._answer.set_exception(failed)
        elif self._reply is not None:
            self._answer.set_result(self._reply)


class MessageStream(Call):
    """Call whose messages are read one after another, at the speed of the reader.

    Only one task may read at a time, and only one may write.
    """

    def __init__(self) -> None:
        super().__init__()
        self._messages: deque[bytes] = deque()
        self._unread = 0
        self._withheld = 0
        self._is_over = False
        self._failed: CallFailed | None = None
        self._changed: asyncio.Future[None] | None = None
        self._written: asyncio.Future[None] | None = None

    async def read(self) -> bytes | None:
        """Return the next message; None: the server ended the stream without an error.

        Raises:
            CallFailed: the call failed; only after the messages that came before.
        """
        while not self._messages:
            if self._failed is not None:
                raise self._failed
            if self._is_over:
                return None
            self._changed = asyncio.get_running_loop().create_future()
            await self._changed
        message = self._messages.popleft()
        self._unread -= len(message)
        if self._withheld and self._unread <= _READ_AHEAD_BYTES:
            size, self._withheld = self._withheld, 0
            super()._make_room(size)
        return message

    async def write(self, message: bytes) -> None:
        """Send a message; returns when all of it was sent, or the call has ended."""
        self.send(message)
        while not (self.is_writable or self._is_over):
            self._written = asyncio.get_running_loop().create_future()
            await self._written

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        message = await self.read()
        if message is None:
            raise StopAsyncIteration
        return message

    def message_arrived(self, message: bytes) -> None:
        self._messages.append(message)
        self._unread += len(message)
        _wake(self._changed)

    def ended(self, failed: CallFailed | None) -> None:
        self._is_over, self._failed = True, failed
        _wake(self._changed)
        _wake(self._written)

    def on_writable(self) -> None:
        _wake(self._written)

    def _make_room(self, size: int) -> None:
        if self._unread > _READ_AHEAD_BYTES:
            self._withheld += size
        else:
            super()._make_room(size)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


def _code_of_response(fields: dict[bytes, bytes]) -> int | None:
    """Return the code of a response that is not gRPC; None: it is."""
    if b"grpc-status" in fields:
        return None
    status = fields.get(b":status", b"")
    if status == b"200":
        is_grpc = fields.get(b"content-type", b"").startswith(b"application/grpc")
        return None if is_grpc else code_pb2.UNKNOWN
    code: int = _CODE_OF_HTTP.get(int(status) if status.isdigit() else 0, code_pb2.UNKNOWN)
    return code


def _failure_of(fields: dict[bytes, bytes]) -> CallFailed | None:
    """Return the failure that trailers report; None: the status is OK."""
    status = fields.get(b"grpc-status")
    if status == b"0":
        return None
    if status is None:
        return CallFailed(code_pb2.UNKNOWN, "the server ended the call without a status")
    code = int(status) if status.isdigit() and len(status) < 4 else code_pb2.UNKNOWN
    message = unquote_to_bytes(fields.get(b"grpc-message", b"")).decode("utf-8", "replace")
    return CallFailed(code, message, details=_details_of(fields))


def _details_of(fields: dict[bytes, bytes]) -> bytes | None:
    encoded = fields.get(b"grpc-status-details-bin")
    if encoded is None:
        return None
    try:
        return base64.b64decode(encoded + b"=" * (-len(encoded) % 4))
    except binascii.Error:
        return None
