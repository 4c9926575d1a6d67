"""One control stream to the proxy, from its opening to its end."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from google.protobuf.message import DecodeError

from prism.adapters.client.grpc_call import MessageStream
from prism.adapters.wire.pattern_messages import debug_event_message
from prism.domain.debug_events import DebugEventBuffer
from prism.v1 import pattern_pb2 as pb

_SILENT_STEPS = 2
_ACCEPTED_WITHIN_S = 5.0

_HEARTBEAT = pb.ConnectRequest(heartbeat=pb.Heartbeat()).SerializeToString()


class StreamBroken(Exception):
    """The stream cannot be used any more; the message says why."""


class ProxyStream:
    """Sends heartbeats and debug events, and detects silence of the proxy.

    Args:
        call: call that has just begun.
    """

    def __init__(self, call: MessageStream, events: DebugEventBuffer) -> None:
        self._call = call
        self._events = events
        self._wake = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._finishing = False
        self._heartbeat_at = 0.0
        self._interval_s = 0.0

    async def register(self, registration: pb.Registration) -> pb.Accepted:
        """Register, and return the proxy's reply.

        Raises:
            CallFailed: the proxy refused the registration, or the connection broke.
            StreamBroken: no valid reply came.
        """
        message = pb.ConnectRequest(registration=registration)
        await self._call.write(message.SerializeToString())
        response = await self._read(_ACCEPTED_WITHIN_S / _SILENT_STEPS)
        if response is None:
            raise StreamBroken("it ended the stream")
        if response.WhichOneof("message") != "accepted":
            raise StreamBroken("it answered a registration with something else")
        return response.accepted

    async def run(self, interval_s: float, silence_s: float | None) -> None:
        """Send and receive until the stream ends; cannot be called again.

        Args:
            interval_s: time between two heartbeats.
            silence_s: half of the time after which silence of the proxy breaks the stream;
                None: it never does.

        Raises:
            CallFailed: the proxy ended the stream with an error, or the connection broke.
            StreamBroken: nothing came for too long.
        """
        self._interval_s = interval_s
        self._events.rewind()
        loop = asyncio.get_running_loop()

        def wake() -> None:
            # Any thread may add a debug event.
            loop.call_soon_threadsafe(self._wake.set)

        stop_observing = self._events.observe(wake)
        self._writing = asyncio.create_task(self._write())
        try:
            while await self._read(silence_s) is not None:
                # Only heartbeats come after the reply to the registration.
                pass
        finally:
            stop_observing()
            self._writing.cancel()
            self._call.cancel()

    async def finish(self) -> None:
        """Send the waiting debug events, and half-close; `run` returns when the proxy closes."""
        self._finishing = True
        self._wake.set()
        if self._writing is not None:
            await asyncio.wait((self._writing,))

    async def _read(self, step_s: float | None) -> pb.ConnectResponse | None:
        """Return the next message; None: the proxy ended the stream without an error."""
        reading = asyncio.ensure_future(self._call.read())
        try:
            # In steps: if this process was stopped for a while, one step passes at once, and
            # what came meanwhile is read in the next.
            for _ in range(_SILENT_STEPS):
                if (await asyncio.wait((reading,), timeout=step_s))[0]:
                    data = reading.result()
                    return None if data is None else pb.ConnectResponse.FromString(data)
            raise StreamBroken(f"it was silent for {_SILENT_STEPS * (step_s or 0):g} s")
        except DecodeError:
            raise StreamBroken("it sent a message that cannot be decoded") from None
        finally:
            reading.cancel()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            # Cleared before the search, or an event added during it would wait.
            self._wake.clear()
            while (message := self._next_message(loop.time())) is not None:
                await self._call.write(message)
            if self._finishing:
                self._call.finish_sending()
                return
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._heartbeat_at):
                    await self._wake.wait()

    def _next_message(self, now: float) -> bytes | None:
        if now >= self._heartbeat_at:
            self._heartbeat_at = now + self._interval_s
            return _HEARTBEAT
        event = self._events.take()
        if event is None:
            return None
        return pb.ConnectRequest(debug_event=debug_event_message(event)).SerializeToString()
