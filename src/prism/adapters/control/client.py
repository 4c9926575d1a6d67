"""Calls the proxy, and calls it again when the stream broke."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from datetime import timedelta
from typing import Any

import grpc

from prism.adapters.client.errors import ErrorTranslator
from prism.adapters.control.commands import Checked, Commands
from prism.adapters.control.stream import Broken, ControlStream
from prism.adapters.wire.keyvalue_messages import STATES, timedelta_of
from prism.domain.debug_events import DebugEventBuffer
from prism.domain.patterns.backoff import Backoff, BackoffPolicy
from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    InvalidArgument,
    LifecycleControl,
    PreconditionFailed,
    Unauthenticated,
    Unsupported,
)
from prism.v1 import pattern_pb2 as pb

log = logging.getLogger(__name__)

GONE_AFTER = timedelta(seconds=10)

# Each call has a connection of its own, and none waits for the backoff of another.
_OPTIONS = [("grpc.use_local_subchannel_pool", 1)]
_CONNECT = "/prism.v1.PatternControlService/Connect"
_BACKOFF = BackoffPolicy(
    initial=timedelta(milliseconds=100),
    maximum=timedelta(seconds=1),
    reset_after=timedelta(seconds=5),
)
_USUAL_INTERVAL_S = 1.0
_LEFT_WITHIN_S = 1.0
# Asked again, a proxy would say the same.
_FOR_GOOD = (AccessDenied, InvalidArgument, PreconditionFailed, Unauthenticated, Unsupported)


class ControlClient:
    """A pattern's connection to its proxy.

    Args:
        address: of the proxy: `host:port` or `unix:PATH`.
        lifecycle: is commanded.
        events: are sent as they come, and held while the stream is broken.
        checked: called with what each health check that is commanded finds.
        gone_after: the proxy may be out of reach for so long.

    Raises:
        InvalidArgument: the address is none.
    """

    def __init__(
        self,
        address: str,
        lifecycle: LifecycleControl,
        events: DebugEventBuffer,
        checked: Checked,
        *,
        gone_after: timedelta = GONE_AFTER,
    ) -> None:
        self._errors = ErrorTranslator(address)
        self._lifecycle = lifecycle
        self._events = events
        self._commands = Commands(lifecycle, checked)
        self._gone_after_s = gone_after.total_seconds()
        self._backoff = Backoff(_BACKOFF)
        self._stream: ControlStream | None = None
        self._no_stream = asyncio.Event()
        self._secret = ""
        self._known = False
        self._leaving = False
        self._heard_at = 0.0

    async def run(self, registration: pb.Registration, token: str) -> str:
        """Do as the proxy commands, until it is gone.

        Args:
            token: lets us in for the first time.

        Returns:
            How it is gone, in a sentence; also after `leave`.

        Raises:
            PrismError: the proxy refuses us, or was not there from the beginning.
        """
        loop = asyncio.get_running_loop()
        self._secret, self._heard_at = token, loop.time()
        while True:
            began_at = loop.time()
            why = await self._call(registration)
            if self._leaving:
                return f"the proxy at {self._errors.address} was left"
            served_s = self._heard_at - began_at
            log.log(
                logging.WARNING if served_s > 0 else logging.DEBUG,
                "there is no stream to the proxy at %s: %s",
                *(self._errors.address, why),
            )
            left_s = self._heard_at + self._gone_after_s - loop.time()
            if left_s <= 0:
                return self._gone()
            pause = self._backoff.next_delay(timedelta(seconds=served_s))
            await asyncio.sleep(min(pause.total_seconds(), left_s))

    async def leave(self) -> None:
        """Send what is left to send, and end the stream; waits a second for it, no longer."""
        self._leaving = True
        if self._stream is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEFT_WITHIN_S):
                await self._stream.finish()
                await self._no_stream.wait()

    async def _call(self, registration: pb.Registration) -> str:
        """One stream, from its opening to its end; why it ended."""
        metadata = (("authorization", f"Bearer {self._secret}"),)
        try:
            async with grpc.aio.insecure_channel(self._errors.address, _OPTIONS) as channel:
                method: Any = channel.stream_stream(_CONNECT)
                stream = ControlStream(method(metadata=metadata), self._commands, self._events)
                accepted = await stream.register(await self._as_of_now(registration))
                await self._converse(stream, accepted)
            return "it ended the stream"
        except Broken as broken:
            return str(broken)
        except grpc.aio.AioRpcError as failure:
            error = self._errors.of_call(failure)
            if isinstance(error, _FOR_GOOD):
                raise type(error)(
                    f"the proxy at {self._errors.address} refuses this pattern: {error.message}",
                    reason=error.reason,
                ) from None
            return error.message

    async def _converse(self, stream: ControlStream, accepted: pb.Accepted) -> None:
        self._secret = accepted.session
        again, self._known = ("again " if self._known else ""), True
        log.info("connected %sto the proxy at %s", again, self._errors.address)
        self._stream = stream
        self._no_stream.clear()
        interval_s = timedelta_of(accepted.heartbeat_interval).total_seconds()
        try:
            await stream.run(interval_s if interval_s > 0 else _USUAL_INTERVAL_S)
        finally:
            self._stream = None
            self._no_stream.set()
            self._heard_at = asyncio.get_running_loop().time()

    async def _as_of_now(self, registration: pb.Registration) -> pb.Registration:
        registration.state = STATES[await self._lifecycle.state()]
        return registration

    def _gone(self) -> str:
        address, seconds = self._errors.address, self._gone_after_s
        if not self._known:
            raise BackendUnavailable(
                f"no proxy answered at {address} within {seconds:g} s; "
                "leave out --proxy-address to serve without one"
            )
        return f"the proxy at {address} is gone: out of reach for {seconds:g} s"
