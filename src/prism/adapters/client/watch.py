"""Watches of a client: each begins with Started, and always ends with a reason.

Watches share connections. Each is read promptly into a buffer with a limit, because a stream
that nobody reads would hold up the others: on h2corn it blocks its whole connection, once some
megabytes wait in it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from google.protobuf.message import DecodeError

from prism.adapters.client.errors import ErrorTranslator
from prism.adapters.client.grpc_call import Call, CallFailed
from prism.adapters.client.http2_stream import Headers
from prism.adapters.client.operation_stream import CLOSED
from prism.adapters.client.shared_connection import SharedConnection, begin_call
from prism.adapters.wire.keyvalue_messages import event_of
from prism.ports import BackendTimeout, Event, Internal, NotServing, PrismError, WatchEnded
from prism.v1 import keyvalue_pb2 as pb

HEARTBEAT = timedelta(seconds=3)
"""Longest silence of a watch: proxies on the way may end a stream that is silent for 5 s."""

MAX_CONNECTION_WATCHES = 100
"""Watches on one connection: fewer than any Prism server allows."""

MAX_EVENTS = 65_536
MAX_BYTES = 16 << 20
MAX_TOTAL_BYTES = 64 << 20
"""Maximum size of the events that all watches of a client have not read."""

_EVENT_OVERHEAD_BYTES = 64
# An encoded message begins with the tag of the only field that it has.
_HEARTBEAT_TAG = pb.WatchResponse(heartbeat=pb.WatchHeartbeat()).SerializeToString()[:1]
_RESTART = "start a new watch and re-read the keys"
_ENDED = f"the server ended the watch: {_RESTART}"


class _Connection:
    """Connection that several watches share.

    Attributes:
        watches: number of watches that use it.
        usable: whether more watches may use it.
    """

    __slots__ = ("shared", "usable", "watches")

    def __init__(self, shared: SharedConnection) -> None:
        self.shared = shared
        self.watches = 0
        self.usable = True


class Watches:
    """All watches of a channel.

    Args:
        new_connection: makes a connection to the server, which the first watch opens.
        timeout_s: longest time until the server confirms the start of a watch.
    """

    def __init__(
        self,
        new_connection: Callable[[], SharedConnection],
        errors: ErrorTranslator,
        timeout_s: float,
    ) -> None:
        self._new_connection = new_connection
        self._errors = errors
        self._timeout_s = timeout_s
        self._connections: list[_Connection] = []
        self._unread = _Unread()
        self._closed = False

    @asynccontextmanager
    async def open(
        self, request: pb.WatchRequest, headers: Headers
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Yield the events of a watch that the server has started; leaving ends the watch.

        Raises:
            PrismError: the server refused the watch, or did not start it in time.
        """
        async with self._connection() as connection:
            call = await self._started(connection, request, headers)
            events = call.events
            self._unread.watches.add(events)
            try:
                yield events
            finally:
                self._unread.watches.discard(events)
                # Cancelling tells the server that nobody reads.
                events.end(WatchEnded(f"the watch was left: {_RESTART}"))

    def renew_connections(self) -> None:
        """Open further watches on new connections."""
        for connection in self._connections:
            connection.usable = False

    async def close(self) -> None:
        """Close the connections; their watches end. Safe more than once."""
        self._closed = True
        for events in tuple(self._unread.watches):
            events.end(NotServing(CLOSED))
        for connection in tuple(self._connections):
            await connection.shared.close()

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        if self._closed:
            raise NotServing(CLOSED)
        for connection in self._connections:
            if connection.usable and connection.watches < MAX_CONNECTION_WATCHES:
                break
        else:
            connection = _Connection(self._new_connection())
            self._connections.append(connection)
        connection.watches += 1
        try:
            yield connection
        finally:
            connection.watches -= 1
            if not connection.watches:
                self._connections.remove(connection)
                await connection.shared.close()

    async def _started(
        self, connection: _Connection, request: pb.WatchRequest, headers: Headers
    ) -> _WatchCall:
        """Begin a watch, and return its call once the server has confirmed it."""
        moves = 0
        try:
            # A limit here, and none of the call: a watch lasts until one side ends it.
            async with asyncio.timeout(self._timeout_s):
                while True:
                    call = _WatchCall(self._unread, self._errors)
                    try:
                        message = request.SerializeToString()
                        await begin_call(connection.shared, call, headers, message, last=True)
                        await call.started
                    except CallFailed as failed:
                        if self._closed:
                            raise NotServing(CLOSED) from None
                        if await failed.may_move(moves):
                            moves += 1
                            continue
                        raise self._errors.of_call(failed) from None
                    except BaseException:
                        call.cancel()
                        raise
                    return call
        except TimeoutError:
            raise BackendTimeout(
                f"the server did not begin the watch within {self._timeout_s:.3g} s"
            ) from None


class _WatchCall(Call):
    """Call of a watch.

    Attributes:
        started: done when the server has confirmed the watch.
        events: what arrives after that.
    """

    def __init__(self, unread: _Unread, errors: ErrorTranslator) -> None:
        super().__init__()
        self.started: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.events = _Events(self, unread)
        self._errors = errors

    def message_arrived(self, message: bytes) -> None:
        if self.started.done():
            if not message.startswith(_HEARTBEAT_TAG):
                self.events.put(message)
            return
        try:
            confirmed = _decode(message).WhichOneof("message") == "started"
        except Internal as error:
            self.started.set_exception(error)
            return
        if confirmed:
            self.started.set_result(None)
        else:
            self.started.set_exception(
                Internal("the server sent an event before it confirmed the watch")
            )

    def ended(self, failed: CallFailed | None) -> None:
        if self.started.done():
            self.events.finish(
                WatchEnded(_ENDED) if failed is None else self._errors.of_watch(failed)
            )
        else:
            self.started.set_exception(failed or WatchEnded(_ENDED))


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


class _Events:
    """Events of a watch, after Started, that arrived and are not read yet.

    Attributes:
        size: bytes of these events.
    """

    __slots__ = ("__weakref__", "_arrived", "_call", "_ended", "_messages", "_unread", "size")

    def __init__(self, call: Call, unread: _Unread) -> None:
        self._call = call
        self._unread = unread
        self._messages: deque[bytes] = deque()
        self._arrived: asyncio.Future[None] | None = None
        self._ended: PrismError | None = None
        self.size = 0

    def end(self, error: PrismError) -> None:
        """Drop the unread events, and raise `error` to the reader instead."""
        self._unread.size -= self.size
        self.size = 0
        self._messages.clear()
        self.finish(error)
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

    def put(self, data: bytes) -> None:
        """Keep a message that arrived."""
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

    def finish(self, error: PrismError) -> None:
        """Raise `error` to the reader after the events that have arrived."""
        if self._ended is None:
            self._ended = error
        self._wake()

    def _wake(self) -> None:
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)


def _decode(data: bytes) -> pb.WatchResponse:
    try:
        return pb.WatchResponse.FromString(data)
    except DecodeError:
        raise Internal("the server sent a watch message that cannot be decoded") from None
