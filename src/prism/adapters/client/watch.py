"""Watches of a client: each begins with Started, and always ends with a reason.

Watches share connections. Each is read promptly into a buffer with a limit, because a stream
that nobody reads would hold up the others: on h2corn it blocks its whole connection, once some
megabytes wait in it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TypeAlias

import grpc
from google.protobuf.message import DecodeError

from prism.adapters.client.errors import ErrorTranslator
from prism.adapters.client.operation_stream import CLOSED
from prism.adapters.wire.keyvalue_messages import event_of
from prism.adapters.wire.methods import path_of
from prism.ports import BackendTimeout, Event, Internal, NotServing, PrismError, WatchEnded
from prism.v1 import keyvalue_pb2 as pb

UnaryStreamMethod: TypeAlias = "grpc.aio.UnaryStreamMultiCallable[bytes, bytes]"
WatchCall: TypeAlias = "grpc.aio.UnaryStreamCall[bytes, bytes]"

MAX_CONNECTION_WATCHES = 100
"""Watches on one connection: fewer than any Prism server allows."""

MAX_EVENTS = 65_536
MAX_BYTES = 16 << 20
MAX_TOTAL_BYTES = 64 << 20
"""Maximum size of the events that all watches of a client have not read."""

_EVENT_OVERHEAD_BYTES = 64
_RESTART = "start a new watch and re-read the keys"
_ENDED = f"the server ended the watch: {_RESTART}"


class _Connection:
    """Connection that several watches share.

    Attributes:
        watches: number of watches that use it.
        usable: whether more watches may use it.
    """

    __slots__ = ("channel", "usable", "watches")

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.channel = channel
        self.watches = 0
        self.usable = True


class Watches:
    """All watches of a channel.

    Args:
        open_connection: opens a connection to the server.
        timeout_s: longest time until the server confirms the start of a watch.
    """

    def __init__(
        self,
        open_connection: Callable[[], grpc.aio.Channel],
        errors: ErrorTranslator,
        timeout_s: float,
    ) -> None:
        self._open_connection = open_connection
        self._errors = errors
        self._timeout_s = timeout_s
        self._connections: list[_Connection] = []
        self._unread = _Unread()
        self._closed = False

    @asynccontextmanager
    async def open(
        self, request: pb.WatchRequest, metadata: tuple[tuple[str, str], ...]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Yield the events of a watch that the server has started; leaving ends the watch.

        Raises:
            PrismError: the server refused the watch, or did not start it in time.
        """
        async with self._connection() as connection:
            # Without a deadline: a watch lasts until one side ends it.
            method: UnaryStreamMethod = connection.channel.unary_stream(path_of("Watch"))
            call = method(request.SerializeToString(), metadata=metadata)
            messages = aiter(call)
            try:
                await self._wait_started(messages)
                async with _reading(call, messages, self._errors, self._unread) as events:
                    yield events
            finally:
                # Cancelling tells the server that nobody reads.
                call.cancel()

    def end_all(self, reason: str) -> None:
        """End every watch: the path that their connections take is of no use."""
        self.retire_connections()
        for events in tuple(self._unread.watches):
            events.end(WatchEnded(f"{reason}: {_RESTART}"))

    def retire_connections(self) -> None:
        """Open further watches on new connections."""
        for connection in self._connections:
            connection.usable = False

    async def close(self) -> None:
        """Close the connections; their watches end. Safe more than once."""
        self._closed = True
        for connection in tuple(self._connections):
            await connection.channel.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        if self._closed:
            raise NotServing(CLOSED)
        for connection in self._connections:
            if connection.usable and connection.watches < MAX_CONNECTION_WATCHES:
                break
        else:
            connection = _Connection(self._open_connection())
            self._connections.append(connection)
        connection.watches += 1
        try:
            yield connection
        finally:
            connection.watches -= 1
            if not connection.watches:
                self._connections.remove(connection)
                await connection.channel.close()

    async def _wait_started(self, messages: AsyncIterator[bytes]) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                with _translated(self._errors.of_call):
                    data = await anext(messages)
        except TimeoutError:
            raise BackendTimeout(
                f"the server did not begin the watch within {self._timeout_s:.3g} s"
            ) from None
        first = _decode(data)
        if first.WhichOneof("message") != "started":
            raise Internal("the server sent an event before it confirmed the watch")


class _Unread:
    """Memory that the unread events of all watches of a channel use, within a limit.

    Attributes:
        watches: watches that are open.
        size: bytes of their unread events.
    """

    def __init__(self) -> None:
        self.watches: set[_Events] = set()
        self.size = 0

    def add(self, size: int) -> None:
        """Count bytes; end the watch that has most of them, if there are too many."""
        self.size += size
        if self.size > MAX_TOTAL_BYTES:
            max(self.watches, key=lambda events: events.size).fall_behind()


@asynccontextmanager
async def _reading(
    call: WatchCall, messages: AsyncIterator[bytes], errors: ErrorTranslator, unread: _Unread
) -> AsyncIterator[_Events]:
    events = _Events(call, unread)
    unread.watches.add(events)
    task = asyncio.create_task(events.read(messages, errors.of_watch))
    try:
        yield events
    finally:
        task.cancel()
        events.end(WatchEnded(f"the watch was left: {_RESTART}"))
        unread.watches.discard(events)
        with suppress(asyncio.CancelledError):
            await task


class _Events:
    """Events of a watch, after Started, that arrived and are not read yet.

    Attributes:
        size: bytes of these events.
    """

    __slots__ = ("__weakref__", "_arrived", "_call", "_ended", "_messages", "_unread", "size")

    def __init__(self, call: WatchCall, unread: _Unread) -> None:
        self._call = call
        self._unread = unread
        self._messages: deque[bytes] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._ended: PrismError | None = None
        self.size = 0

    async def read(
        self,
        messages: AsyncIterator[bytes],
        translate: Callable[[grpc.aio.AioRpcError], PrismError],
    ) -> None:
        """Keep what arrives, until the watch ends."""
        try:
            with _translated(translate):
                async for data in messages:
                    self._put(data)
            raise WatchEnded(_ENDED)
        except PrismError as error:
            self._end(error)

    def end(self, error: PrismError) -> None:
        """Drop the unread events, and raise `error` to the reader instead."""
        self._unread.size -= self.size
        self.size = 0
        self._messages.clear()
        self._end(error)
        self._call.cancel()

    def fall_behind(self) -> None:
        """End the watch, because its reader is too slow."""
        self.end(
            WatchEnded(
                f"the reader is {len(self._messages):,} events behind, the limit of a watch: "
                + _RESTART
            )
        )

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        while not self._messages:
            if self._ended is not None:
                raise self._ended
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        data = self._messages.popleft()
        size = len(data) + _EVENT_OVERHEAD_BYTES
        self.size -= size
        self._unread.size -= size
        message = _decode(data)
        event = event_of(message.event)
        if event is None:
            raise Internal(
                f"the server sent a watch event of a type unknown here: {message.event.type}"
            )
        return event

    def _put(self, data: bytes) -> None:
        if self._ended is not None:
            return
        self._messages.append(data)
        size = len(data) + _EVENT_OVERHEAD_BYTES
        self.size += size
        self._unread.add(size)
        # A single event may be larger.
        if len(self._messages) > 1 and (len(self._messages) > MAX_EVENTS or self.size > MAX_BYTES):
            self.fall_behind()
        self._wake()

    def _end(self, error: PrismError) -> None:
        if self._ended is None:
            self._ended = error
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


@contextmanager
def _translated(translate: Callable[[grpc.aio.AioRpcError], PrismError]) -> Iterator[None]:
    """Translate what reading a call raises; `translate` is for errors of the call."""
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise translate(error) from None
    except StopAsyncIteration:
        raise WatchEnded(_ENDED) from None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        # Closing the connection cancels its calls, which their readers did not.
        raise NotServing(CLOSED) from None


def _decode(data: bytes) -> pb.WatchResponse:
    try:
        return pb.WatchResponse.FromString(data)
    except DecodeError:
        raise Internal("the server sent a watch message that cannot be decoded") from None
