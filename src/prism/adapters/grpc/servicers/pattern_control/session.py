"""A registered pattern, over all its control streams."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from datetime import timedelta

from prism.adapters.grpc.servicers.pattern_control.stream import PatternStream
from prism.adapters.wire.keyvalue_messages import duration_of
from prism.adapters.wire.pattern_messages import debug_event_of
from prism.domain.patterns.ports import OnDebugEvent, OnEvent
from prism.domain.patterns.values import EventKind, Registration
from prism.domain.token_bucket import TokenBucket
from prism.ports import InvalidArgument, NotServing, PreconditionFailed, PrismError
from prism.v1 import pattern_pb2 as pb

# A pattern has limits of its own; what it held while its stream was broken comes at once.
_EVENTS_PER_SECOND, _EVENTS_BURST = 100.0, 1000
# A pattern may send any numbers, and their sum has to fit into a message.
_MAX_COUNT = (1 << 64) - 1
# The time to return is measured in ticks of this process, which stop while the process is
# stopped: a pattern that returned meanwhile waits to be read.
_TICKS_TO_RETURN = 5


class PatternSession:
    """A registered pattern; implements `Session`. It has one control stream at a time.

    Args:
        pattern: name of the pattern, for messages.
        heartbeat_interval: time between two heartbeats.
        lost_after: how long the pattern may take to open a new stream after one broke.

    Attributes:
        secret: credential for the streams after the first.
        heard: whether the pattern sent a message after it registered, and so has the secret.
    """

    def __init__(
        self,
        pattern: str,
        registration: Registration,
        *,
        heartbeat_interval: timedelta,
        lost_after: timedelta,
        on_event: OnEvent,
        on_debug_event: OnDebugEvent,
    ) -> None:
        self.secret = secrets.token_urlsafe()
        self.heard = False
        self._pattern = pattern
        self._registration = registration
        self._heartbeat_interval = heartbeat_interval
        self._lost_after_s = lost_after.total_seconds()
        self._on_event = on_event
        self._debug_events = DebugEventFilter(on_debug_event)
        self._loop = asyncio.get_running_loop()
        self._stream: PatternStream | None = None
        self._lost_timer: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[str] = self._loop.create_future()
        self._end_expected = False
        self._closed = False

    @property
    def registration(self) -> Registration:
        return self._registration

    @property
    def over(self) -> bool:
        """Whether the pattern may not open a new stream any more."""
        return self._closed or self._lost.done()

    async def wait_lost(self) -> str:
        return await asyncio.shield(self._lost)

    def expect_end(self) -> None:
        self._end_expected = True

    def returned(self, registration: Registration) -> None:
        """Note that the pattern opened a new stream; a stream that it still has is ended."""
        self._leave(self._stream, "it opened another")
        self._registration = registration
        self._on_event(EventKind.RETURNED, "it opened its control stream again")

    async def serve(
        self, requests: AsyncIterator[pb.ConnectRequest]
    ) -> AsyncGenerator[pb.ConnectResponse, None]:
        """Serve a stream until it ends; the session waits for the next one."""
        stream = self._enter(PatternStream(self._heartbeat_interval.total_seconds()))
        reason = "its connection broke"
        try:
            async with aclosing(stream.run(requests, self._handle)) as messages:
                async for message in messages:
                    yield message
            reason = "it closed the stream"
        except PrismError as error:
            reason = error.message
            raise
        finally:
            self._leave(stream, reason)

    def close(self) -> None:
        """End the stream, and accept no other."""
        self._closed = True
        self._cancel_lost_timer()
        if self._stream is not None:
            # FAILED_PRECONDITION tells the pattern not to come back.
            self._stream.end(
                PreconditionFailed(
                    "the proxy does not need this process any more", reason="DISMISSED"
                )
            )

    def _enter(self, stream: PatternStream) -> PatternStream:
        self._cancel_lost_timer()
        self._stream = stream
        accepted = pb.Accepted(
            session=self.secret, heartbeat_interval=duration_of(self._heartbeat_interval)
        )
        stream.send(pb.ConnectResponse(accepted=accepted))
        return stream

    def _leave(self, stream: PatternStream | None, reason: str) -> None:
        if stream is None or stream is not self._stream:
            return
        self._stream = None
        stream.end(NotServing("another stream took its place", reason="STREAM_REPLACED"))
        if not self.over and not self._end_expected:
            self._on_event(EventKind.LOST, f"its control stream broke: {reason}")
            self._wait_for_return(reason, _TICKS_TO_RETURN)

    def _wait_for_return(self, reason: str, ticks: int) -> None:
        if ticks:
            self._lost_timer = self._loop.call_later(
                self._lost_after_s / _TICKS_TO_RETURN, self._wait_for_return, reason, ticks - 1
            )
            return
        self._lost.set_result(
            f"the pattern {self._pattern!r} did not return within {self._lost_after_s:g} s "
            f"after its control stream broke: {reason}"
        )

    def _cancel_lost_timer(self) -> None:
        if self._lost_timer is not None:
            self._lost_timer.cancel()
            self._lost_timer = None

    def _handle(self, request: pb.ConnectRequest) -> None:
        self.heard = True
        kind = request.WhichOneof("message")
        if kind == "debug_event":
            self._debug_events.handle(request.debug_event)
        elif kind == "registration":
            raise InvalidArgument("a stream has one registration, and this is the second")
        elif kind is None:
            raise InvalidArgument("a message holds nothing that this version of the protocol knows")


class DebugEventFilter:
    """Passes on each debug event once, within a rate limit.

    The next event carries the number of those that were dropped or lost.
    """

    def __init__(self, on_debug_event: OnDebugEvent) -> None:
        self._on_debug_event = on_debug_event
        self._bucket = TokenBucket(_EVENTS_PER_SECOND, _EVENTS_BURST)
        self._last = 0
        self._dropped = 0

    def handle(self, message: pb.DebugEvent) -> None:
        """Pass on, drop or ignore an event.

        Raises:
            InvalidArgument: the event's time is invalid.
        """
        # A pattern repeats its latest events on a new stream.
        if message.sequence <= self._last:
            return
        self._dropped += message.sequence - self._last - 1
        self._last = message.sequence
        event = debug_event_of(message)
        if event is None:
            return
        if not self._bucket.take():
            self._dropped += 1 + event.dropped
            return
        dropped = min(event.dropped + self._dropped, _MAX_COUNT)
        self._on_debug_event(replace(event, dropped=dropped))
        self._dropped = 0
