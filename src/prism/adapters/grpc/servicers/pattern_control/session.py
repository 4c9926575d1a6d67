"""A pattern that has called back; implements the domain's `Session`."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from prism.adapters.grpc.servicers.pattern_control.commands import Commands
from prism.adapters.grpc.servicers.pattern_control.events import DebugEvents
from prism.adapters.grpc.servicers.pattern_control.lifecycle import PatternLifecycle
from prism.adapters.grpc.servicers.pattern_control.options import ReceptionOptions
from prism.adapters.grpc.servicers.pattern_control.stream import ControlStream
from prism.adapters.wire.keyvalue_messages import duration_of
from prism.domain.patterns.ports import OnDebugEvent, OnEvent
from prism.domain.patterns.values import EventKind, Registration
from prism.ports import InvalidArgument, NotServing, PreconditionFailed, PrismError
from prism.v1 import pattern_pb2 as pb


class PatternSession:
    """Outlives its streams, of which it has one at a time.

    Args:
        pattern: its name.

    Attributes:
        secret: with which it may return.
        heard: it has said something since it registered, and so knows the secret.
    """

    def __init__(
        self,
        pattern: str,
        registration: Registration,
        options: ReceptionOptions,
        on_event: OnEvent,
        on_debug_event: OnDebugEvent,
    ) -> None:
        self.secret = secrets.token_urlsafe()
        self.heard = False
        self._pattern = pattern
        self._registration = registration
        self._options = options
        self._on_event = on_event
        self._events = DebugEvents(on_debug_event)
        self._commands = Commands(pattern)
        self._lifecycle = PatternLifecycle(self._commands)
        self._loop = asyncio.get_running_loop()
        self._stream: ControlStream | None = None
        self._giving_up: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._stopped = False
        self._closed = False

    @property
    def registration(self) -> Registration:
        return self._registration

    @property
    def lifecycle(self) -> PatternLifecycle:
        return self._lifecycle

    @property
    def over(self) -> bool:
        """Whether it is too late to return."""
        return self._closed or self._lost.done()

    async def wait_lost(self) -> str:
        return await asyncio.shield(self._lost)

    def returned(self, registration: Registration) -> None:
        """It has opened another stream; the one that it had, if it still has, is of no use."""
        self._leave(self._stream, "it opened another")
        self._registration = registration
        self._on_event(EventKind.RETURNED, "it opened its control stream again")

    async def converse(
        self, requests: AsyncIterator[pb.ConnectRequest]
    ) -> AsyncGenerator[pb.ConnectResponse, None]:
        """Serve a stream, to its end; the session goes on for a while, or with another."""
        options = self._options
        stream = self._enter(ControlStream(options.heartbeat_interval.total_seconds()))
        why = "its connection broke"
        try:
            async with aclosing(stream.converse(requests, self._heard)) as messages:
                async for message in messages:
                    yield message
            why = "it closed the stream"
        except PrismError as error:
            why = error.message
            raise
        finally:
            self._leave(stream, why)

    def close(self) -> None:
        """Nothing more is expected of it."""
        self._closed = True
        self._stop_waiting()
        self._commands.end("is no longer expected to answer")
        if self._stream is not None:
            # Asked again, we would say the same; so it does not come back.
            self._stream.end(
                PreconditionFailed("the proxy has no more use for this process", reason="DISMISSED")
            )

    def _enter(self, stream: ControlStream) -> ControlStream:
        self._stop_waiting()
        self._stream = stream
        accepted = pb.Accepted(
            session=self.secret, heartbeat_interval=duration_of(self._options.heartbeat_interval)
        )
        stream.send(pb.ConnectResponse(accepted=accepted))
        self._commands.carry(lambda command: stream.send(pb.ConnectResponse(command=command)))
        return stream

    def _leave(self, stream: ControlStream | None, why: str) -> None:
        if stream is None or stream is not self._stream:
            return
        self._stream = None
        self._commands.carry(None)
        stream.end(NotServing("another stream took its place", reason="STREAM_REPLACED"))
        # One that is stopped goes away, and that is as it should be.
        if not self.over and not self._stopped:
            self._on_event(EventKind.LOST, f"its control stream broke: {why}")
            seconds = self._options.lost_after.total_seconds()
            self._giving_up = self._loop.call_later(seconds, self._give_up, why)

    def _give_up(self, why: str) -> None:
        seconds = self._options.lost_after.total_seconds()
        lost = f"did not return within {seconds:g} s after its control stream broke: {why}"
        self._commands.end(lost)
        self._lost.set_result(f"the pattern {self._pattern!r} {lost}")

    def _stop_waiting(self) -> None:
        if self._giving_up is not None:
            self._giving_up.cancel()
            self._giving_up = None

    def _heard(self, request: pb.ConnectRequest) -> None:
        self.heard = True
        kind = request.WhichOneof("message")
        if kind == "result":
            self._stopped = self._stopped or request.result.HasField("stop")
            self._commands.answered(request.result)
        elif kind == "debug_event":
            self._events.heard(request.debug_event)
        elif kind == "registration":
            raise InvalidArgument("a stream has one registration, and this is the second")
        elif kind is None:
            raise InvalidArgument("a message holds nothing that this version of the protocol knows")
