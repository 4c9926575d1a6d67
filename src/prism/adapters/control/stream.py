"""One control stream, from its opening to its end."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from typing import Any

import grpc
from google.protobuf.message import DecodeError

from prism.adapters.client.errors import TrueStatus
from prism.adapters.control.commands import Commands
from prism.adapters.wire.pattern_messages import debug_event_message
from prism.domain.debug_events import DebugEventBuffer
from prism.v1 import pattern_pb2 as pb

_SILENT_INTERVALS = 2
_ACCEPTED_WITHIN_S = 5.0


class Broken(Exception):
    """The stream is lost; says how."""


class ControlStream:
    """Answers commands, sends heartbeats and debug events, and notices silence.

    Args:
        call: just begun.
    """

    def __init__(self, call: Any, commands: Commands, events: DebugEventBuffer) -> None:
        self._call = call
        self._true_status = TrueStatus(call)
        self._commands = commands
        self._events = events
        self._answering: set[asyncio.Task[None]] = set()
        self._answers: deque[pb.CommandResult] = deque()
        self._something_to_write = asyncio.Event()
        self._writing: asyncio.Task[None] | None = None
        self._finishing = False
        self._beat_at = 0.0
        self._interval_s = 0.0

    async def register(self, registration: pb.Registration) -> pb.Accepted:
        """Say who calls.

        Raises:
            AioRpcError: refused, or there is no connection.
            Broken: no answer, or another than is due.
        """
        # When it is refused meanwhile, reading says so.
        with suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
            await self._call.write(_packed(registration=registration))
        response = await self._read(_ACCEPTED_WITHIN_S / _SILENT_INTERVALS)
        if response is None:
            raise Broken("it ended the stream")
        if response.WhichOneof("message") != "accepted":
            raise Broken("it answered a registration with something else")
        return response.accepted

    async def run(self, interval_s: float) -> None:
        """Converse until the stream ends; it is not to be used afterwards.

        Args:
            interval_s: between two heartbeats, of ours and of theirs.

        Raises:
            AioRpcError: the proxy ended it so, or the connection broke.
            Broken: there was silence for two intervals.
        """
        self._interval_s = interval_s
        self._events.rewind()
        stop_waking = self._events.observe(self._waker())
        self._writing = asyncio.create_task(self._write())
        try:
            while (message := await self._read(interval_s)) is not None:
                if message.WhichOneof("message") == "command":
                    self._answer_soon(message.command)
        finally:
            stop_waking()
            for task in (self._writing, *self._answering):
                task.cancel()
            self._call.cancel()

    async def finish(self) -> None:
        """Send what there is to send, and end our half; `run` returns when they end theirs."""
        if self._answering:
            await asyncio.wait(self._answering)
        self._finishing = True
        self._something_to_write.set()
        if self._writing is not None:
            await asyncio.wait((self._writing,))

    async def _read(self, interval_s: float) -> pb.ConnectResponse | None:
        """The next message; None: they ended the stream, and nothing is wrong."""
        reading = asyncio.ensure_future(self._call.read())
        try:
            # Some of the time this process itself may have had no turn, and what came
            # meanwhile is only heard in the next interval.
            for _ in range(_SILENT_INTERVALS):
                if (await asyncio.wait((reading,), timeout=interval_s))[0]:
                    data = reading.result()
                    return None if data is grpc.aio.EOF else pb.ConnectResponse.FromString(data)
            raise Broken(f"it was silent for {_SILENT_INTERVALS * interval_s:g} s")
        except DecodeError:
            raise Broken("it sent what is no message of the control stream") from None
        except grpc.aio.AioRpcError as error:
            raise await self._true_status.of(error) from None
        finally:
            reading.cancel()

    def _answer_soon(self, command: pb.Command) -> None:
        task = asyncio.create_task(self._answer(command))
        self._answering.add(task)
        task.add_done_callback(self._answering.discard)

    async def _answer(self, command: pb.Command) -> None:
        self._answers.append(await self._commands.answer(command))
        self._something_to_write.set()

    async def _write(self) -> None:
        loop = asyncio.get_running_loop()
        # When the stream is gone, reading says how.
        with suppress(grpc.aio.AioRpcError, grpc.aio.UsageError, asyncio.InvalidStateError):
            while True:
                # Before looking for something, or what comes meanwhile would be missed.
                self._something_to_write.clear()
                while (message := self._next(loop.time())) is not None:
                    await self._call.write(message)
                if self._finishing:
                    await self._call.done_writing()
                    return
                with suppress(TimeoutError):
                    async with asyncio.timeout_at(self._beat_at):
                        await self._something_to_write.wait()

    def _next(self, now: float) -> bytes | None:
        if self._answers:
            return _packed(result=self._answers.popleft())
        if now >= self._beat_at:
            self._beat_at = now + self._interval_s
            return _packed(heartbeat=pb.Heartbeat())
        event = self._events.take()
        return None if event is None else _packed(debug_event=debug_event_message(event))

    def _waker(self) -> Any:
        loop = asyncio.get_running_loop()
        return lambda: loop.call_soon_threadsafe(self._something_to_write.set)


def _packed(**message: Any) -> bytes:
    return pb.ConnectRequest(**message).SerializeToString()
