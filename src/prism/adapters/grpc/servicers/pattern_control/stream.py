"""One control stream of a pattern, from its registration to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from prism.ports import NotServing
from prism.v1 import pattern_pb2 as pb

# Silence is measured in ticks of this process, which stop while the process is stopped.
_TICKS_PER_INTERVAL = 2
_SILENT_INTERVALS = 2

_HEARTBEAT = pb.ConnectResponse(heartbeat=pb.Heartbeat())


class PatternStream:
    """Sends queued messages and heartbeats, handles what comes in, and detects silence.

    Args:
        interval_s: time between two heartbeats.
    """

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._outgoing: asyncio.Queue[pb.ConnectResponse | None] = asyncio.Queue()
        self._error: Exception | None = None
        self._silent_ticks = 0

    def send(self, message: pb.ConnectResponse) -> None:
        """Queue a message."""
        self._outgoing.put_nowait(message)

    def end(self, error: Exception | None = None) -> None:
        """End the stream after the queued messages, with the first error that was given."""
        self._error = self._error or error
        self._outgoing.put_nowait(None)

    async def run(
        self,
        requests: AsyncIterator[pb.ConnectRequest],
        handle: Callable[[pb.ConnectRequest], None],
    ) -> AsyncGenerator[pb.ConnectResponse, None]:
        """Yield the messages to send, until the stream ends.

        Args:
            handle: called with each message; an exception ends the stream.

        Raises:
            NotServing: no message came for two intervals.
            Exception: raised by `handle`, or given to `end`.
        """
        reading = asyncio.create_task(self._read(requests, handle))
        ticking = asyncio.create_task(self._tick())
        try:
            while (message := await self._outgoing.get()) is not None:
                yield message
            if self._error is not None:
                raise self._error
        finally:
            ticking.cancel()
            reading.cancel()

    async def _read(
        self,
        requests: AsyncIterator[pb.ConnectRequest],
        handle: Callable[[pb.ConnectRequest], None],
    ) -> None:
        try:
            async for request in requests:
                self._silent_ticks = 0
                handle(request)
        except Exception as error:
            self.end(error)
        else:
            self.end()

    async def _tick(self) -> None:
        ticks = 0
        while self._silent_ticks <= _SILENT_INTERVALS * _TICKS_PER_INTERVAL:
            await asyncio.sleep(self._interval_s / _TICKS_PER_INTERVAL)
            ticks += 1
            self._silent_ticks += 1
            # A pattern that does not read gets no further heartbeats.
            if ticks % _TICKS_PER_INTERVAL == 0 and self._outgoing.empty():
                self.send(_HEARTBEAT)
        self.end(
            NotServing(
                f"nothing was heard from it for {_SILENT_INTERVALS * self._interval_s:g} s",
                reason="SILENT",
            )
        )
