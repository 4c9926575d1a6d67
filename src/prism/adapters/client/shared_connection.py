"""Connection that many calls share: opened by the first, and again when it cannot be used."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from prism.adapters.client.endpoint import Endpoint
from prism.adapters.client.grpc_call import Call, CallFailed
from prism.adapters.client.http2 import Http2Connection, Pings
from prism.adapters.client.http2_stream import Headers, StreamLost


class SharedConnection:
    """The connection on which further calls begin; calls on earlier ones end there.

    Args:
        context: finds the TLS context of the next connection; None: plain text.
        pings: finds how the next connection is pinged; None: it is not.
        on_lost: called when a connection has ended, with the reason.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        context: Callable[[], ssl.SSLContext | None],
        pings: Callable[[], Pings | None],
        on_lost: Callable[[str], None],
    ) -> None:
        self._endpoint = endpoint
        self._context = context
        self._pings = pings
        self._on_lost = on_lost
        self._current: Http2Connection | None = None
        self._connecting: asyncio.Task[Http2Connection] | None = None
        self._open: set[Http2Connection] = set()
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether there is a usable connection."""
        return self._current is not None and self._current.usable

    @property
    def is_answering(self) -> bool:
        """Whether there is a usable connection that is not silent."""
        return self.is_open and self._current is not None and not self._current.doubtful

    async def get(self) -> Http2Connection:
        """Return a usable connection.

        Raises:
            StreamLost: there is none, and none can be opened.
        """
        if self._current is not None and self._current.usable:
            return self._current
        if self._closed:
            raise StreamLost("the connection was closed", unseen=True)
        if self._connecting is None:
            # A task of its own: the caller who begins it may leave, and others wait as well.
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._connected)
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling() or not connecting.cancelled():
                raise
            # The attempt was cancelled, and not the caller.
            raise StreamLost("the connection was closed", unseen=True) from None

    def renew(self) -> None:
        """Begin further calls on another connection."""
        if self._current is not None:
            self._current.retire()
            self._current = None

    async def close(self) -> None:
        """Close every connection; calls in flight fail. Safe more than once."""
        self._closed = True
        self._current = None
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.wait((self._connecting,))
        await asyncio.gather(*(connection.close() for connection in tuple(self._open)))

    async def _connect(self) -> Http2Connection:
        connection = await self._endpoint.connect(self._context(), self._pings(), self._lost)
        self._current = connection
        self._open = {each for each in self._open if each.reason is None}
        self._open.add(connection)
        return connection

    def _connected(self, task: asyncio.Task[Http2Connection]) -> None:
        self._connecting = None
        if not task.cancelled():
            # Retrieved even if no caller waits, or asyncio would log it.
            task.exception()

    def _lost(self, reason: str) -> None:
        if not self._closed:
            self._on_lost(reason)


async def begin_call(
    shared: SharedConnection, call: Call, headers: Headers, message: bytes | None, *, last: bool
) -> None:
    """Begin a call over the shared connection; see `Call.begin`.

    Raises:
        CallFailed: there is no connection, or it cannot be used any more.
    """
    try:
        connection = await shared.get()
    except StreamLost as lost:
        raise CallFailed.not_connected(lost) from None
    await call.begin(connection, headers, message, last=last)
