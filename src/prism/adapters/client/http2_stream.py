"""One stream of an HTTP/2 connection, what it receives, and how it fails."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol, TypeAlias

Headers: TypeAlias = "list[tuple[bytes, bytes]]"

STREAM_WINDOW = 4 << 20
"""Bytes that the server may send on a stream before the client reports room again."""


class StreamLost(Exception):
    """A stream ended before the server ended it, or could not begin.

    Attributes:
        reason: why, in words.
        code: error code of HTTP/2; None: there is none.
        unseen: whether the server has certainly not processed the request.
    """

    def __init__(self, reason: str, *, code: int | None = None, unseen: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code
        self.unseen = unseen


class Receiver(Protocol):
    """Receives what arrives on a stream, each time in the step in which it arrives."""

    def on_headers(self, headers: Iterable[tuple[bytes, bytes]], *, last: bool) -> None: ...

    def on_data(self, data: bytes, *, last: bool) -> None: ...

    def on_lost(self, lost: StreamLost) -> None:
        """The stream ended without its last frame."""
        ...

    def on_writable(self) -> None:
        """Everything that waited has been sent."""
        ...

    def on_leaving(self) -> None:
        """The server asks for further calls on another connection, and continues this one."""
        ...


class Frames(Protocol):
    """Connection, as its streams use it."""

    def send_waiting(self, stream: Http2Stream) -> None: ...

    def return_window(self, stream: Http2Stream, size: int) -> None: ...

    def reset(self, stream: Http2Stream) -> None: ...


class Http2Stream:
    """One stream: sends at once what the windows permit, and the rest when they do.

    Attributes:
        id: its number on the connection.
        receiver: receives what arrives.
        waiting: data that could not be sent yet.
        ending: whether the last data has been given.
    """

    __slots__ = ("_connection", "_unreturned", "ending", "id", "receiver", "waiting")

    def __init__(self, connection: Frames, identity: int, receiver: Receiver) -> None:
        self._connection = connection
        self.id = identity
        self.receiver = receiver
        self.waiting: deque[memoryview] = deque()
        self.ending = False
        self._unreturned = 0

    def send(self, data: bytes, *, last: bool = False) -> None:
        """Send data; `waiting` has what could not be sent at once."""
        self.ending = last
        self.waiting.append(memoryview(data))
        self._connection.send_waiting(self)

    def make_room(self, size: int) -> None:
        """Let the server send this many bytes more, because as many were read."""
        self._unreturned += size
        if self._unreturned > STREAM_WINDOW // 4:
            size, self._unreturned = self._unreturned, 0
            self._connection.return_window(self, size)

    def cancel(self) -> None:
        """Tell the server that nobody waits for the rest; nothing arrives any more."""
        self._connection.reset(self)
