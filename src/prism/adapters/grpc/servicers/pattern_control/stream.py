"""One control stream, from its acceptance to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from prism.ports import NotServing
from prism.v1 import pattern_pb2 as pb

# Silence is counted in these instead of in seconds, of which some may have passed while
# this process itself had no turn.
_TICKS_AN_INTERVAL = 2
_SILENT_INTERVALS = 2

_HEARTBEAT = pb.ConnectResponse(heartbeat=pb.Heartbeat())


class ControlStream:
    """Sends what there is to send and heartbeats, and notices silence.

    Args:
        interval_s: between two heartbeats.
    """

    def __init__(self, interval_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._interval_s = interval_s
        self._outgoing: asyncio.Queue[pb.ConnectResponse | None] = asyncio.Queue()
        self._error: Exception | None = None
        self._ticks = 0
        self._silent_ticks = 0

    def send(self, message: pb.ConnectResponse) -> None:
        """Behind what waits to be sent."""
        self._outgoing.put_nowait(message)

    def end(self, error: Exception | None = None) -> None:
        """Once what waits is sent; the first error that was given is told."""
        self._error = self._error or error
        self._outgoing.put_nowait(None)

    async def converse(
        self, requests: AsyncIterator[pb.ConnectRequest], heard: Callable[[pb.ConnectRequest], None]
    ) -> AsyncGenerator[pb.ConnectResponse, None]:
        """What is sent, until the stream ends.

        Args:
            heard: called with each message; what it raises ends the stream.

        Raises:
            NotServing: nothing was heard for two intervals.
            Exception: of what was heard, or as `end` was told.
        """
        listening = asyncio.create_task(self._listen(requests, heard))
        ticking = asyncio.create_task(self._tick())
        try:
            while (message := await self._outgoing.get()) is not None:
                yield message
            if self._error is not None:
                raise self._error
        finally:
            ticking.cancel()
            listening.cancel()

    async def _listen(
        self, requests: AsyncIterator[pb.ConnectRequest], heard: Callable[[pb.ConnectRequest], None]
    ) -> None:
        try:
            async for request in requests:
                self._silent_ticks = 0
                heard(request)
        except Exception as error:
            self.end(error)
        else:
            self.end()

    async def _tick(self) -> None:
        while self._silent_ticks <= _SILENT_INTERVALS * _TICKS_AN_INTERVAL:
            await asyncio.sleep(self._interval_s / _TICKS_AN_INTERVAL)
            self._ticks += 1
            self._silent_ticks += 1
            # One that does not read what was sent needs no more of it.
            if self._ticks % _TICKS_AN_INTERVAL == 0 and self._outgoing.empty():
                self.send(_HEARTBEAT)
        self.end(
            NotServing(
                f"nothing was heard from it for {_SILENT_INTERVALS * self._interval_s:g} s",
                reason="SILENT",
            )
        )
