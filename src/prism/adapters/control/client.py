"""Connection of a pattern to its proxy: registers, and opens a new stream when one broke."""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from datetime import timedelta

from prism.adapters.client.endpoint import Endpoint
from prism.adapters.client.errors import ErrorTranslator
from prism.adapters.client.grpc_call import CallFailed, MessageStream, request_headers
from prism.adapters.client.http2_stream import StreamLost
from prism.adapters.control.stream import ProxyStream, StreamBroken
from prism.adapters.wire.keyvalue_messages import STATES, capabilities_of, timedelta_of
from prism.adapters.wire.pattern_messages import PROTOCOL_VERSION
from prism.domain.debug_events import DebugEventBuffer
from prism.domain.patterns.backoff import Backoff, BackoffPolicy
from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    DriverSpec,
    InvalidArgument,
    LifecycleControl,
    PreconditionFailed,
    PrismError,
    Profile,
    Unauthenticated,
    Unsupported,
    VersionKind,
)
from prism.v1 import pattern_pb2 as pb
from prism.version import VERSION

log = logging.getLogger(__name__)

GONE_AFTER = timedelta(seconds=10)

_CONNECT = "/prism.v1.PatternControlService/Connect"
_BACKOFF = BackoffPolicy(
    initial=timedelta(milliseconds=100),
    maximum=timedelta(seconds=1),
    reset_after=timedelta(seconds=5),
)
_DEFAULT_INTERVAL_S = 1.0
_LEAVE_TIMEOUT_S = 1.0
# The proxy would refuse another attempt too.
_PERMANENT = (AccessDenied, InvalidArgument, PreconditionFailed, Unauthenticated, Unsupported)


def registration_message(
    spec: DriverSpec, data_address: str, metrics_address: str
) -> pb.Registration:
    """Return the registration of this process, without its state.

    Args:
        data_address: address of its gRPC services: `host:port` or `unix:PATH`.
        metrics_address: address of its health and metrics; empty: none.
    """
    # The capabilities are an upper bound: the backend is not known yet.
    profile = Profile(spec.name, spec.version, VersionKind.DIGEST, spec.capabilities)
    return pb.Registration(
        protocol_version=PROTOCOL_VERSION,
        driver=spec.name,
        driver_version=spec.version,
        prism_version=VERSION,
        process_id=os.getpid(),
        capabilities=capabilities_of(profile).capabilities,
        data_address=data_address,
        metrics_address=metrics_address,
    )


class ControlClient:
    """Connection of a pattern to its proxy, over one stream after another.

    Args:
        address: address of the proxy: `host:port` or `unix:PATH`.
        lifecycle: lifecycle whose state each registration carries.
        events: debug events to send; they wait while the stream is broken.
        gone_after: how long the proxy may be unreachable before it counts as gone; None: without
            limit, also while it is silent, because something else ends this process when the proxy
            ends.

    Raises:
        InvalidArgument: the address has neither form.
    """

    def __init__(
        self,
        address: str,
        lifecycle: LifecycleControl,
        events: DebugEventBuffer,
        *,
        gone_after: timedelta | None = GONE_AFTER,
    ) -> None:
        self._address = address
        self._endpoint = Endpoint.of(address)
        self._errors = ErrorTranslator(address)
        self._lifecycle = lifecycle
        self._events = events
        self._gone_after = gone_after
        self._backoff = Backoff(_BACKOFF)
        self._stream: ProxyStream | None = None
        self._no_stream = asyncio.Event()
        self._credential = ""
        self._accepted = False
        self._leaving = False
        self._heard_at = 0.0

    async def run(self, registration: pb.Registration, token: str) -> str:
        """Keep a stream to the proxy open until the proxy is gone, or `leave` is called.

        Args:
            token: credential for the first registration.

        Returns:
            Why it ended, as a sentence.

        Raises:
            PrismError: the proxy refuses the pattern, or never answered.
        """
        loop = asyncio.get_running_loop()
        self._credential, self._heard_at = token, loop.time()
        while True:
            began_at = loop.time()
            reason = await self._connect(registration)
            if self._leaving:
                return f"the proxy at {self._address} was left"
            served_s = self._heard_at - began_at
            log.log(
                logging.WARNING if served_s > 0 else logging.DEBUG,
                "there is no stream to the proxy at %s: %s",
                *(self._address, reason),
            )
            delay_s = self._backoff.next_delay(timedelta(seconds=served_s)).total_seconds()
            if self._gone_after is not None:
                left_s = self._heard_at + self._gone_after.total_seconds() - loop.time()
                if left_s <= 0:
                    return self._gone(self._gone_after.total_seconds())
                delay_s = min(delay_s, left_s)
            await asyncio.sleep(delay_s)

    async def leave(self) -> None:
        """Send the waiting debug events, and end the stream; takes a second at most."""
        self._leaving = True
        if self._stream is None:
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_TIMEOUT_S):
                await self._stream.finish()
                await self._no_stream.wait()

    async def _connect(self, registration: pb.Registration) -> str:
        """Open a stream, and keep it until it ends; return why it ended."""
        metadata = (("authorization", f"Bearer {self._credential}"),)
        headers = request_headers(self._endpoint, _CONNECT, metadata)
        call = MessageStream()
        try:
            # Each stream has a connection of its own. The stream notices silence.
            connection = await self._endpoint.connect(None)
            try:
                await call.begin(connection, headers)
                stream = ProxyStream(call, self._events)
                registration.state = STATES[await self._lifecycle.state()]
                await self._run(stream, await stream.register(registration))
            finally:
                await connection.close()
            return "it ended the stream"
        except StreamBroken as broken:
            return str(broken)
        except StreamLost as lost:
            return lost.reason
        except CallFailed as failed:
            error = self._errors.of_call(failed)
            if isinstance(error, _PERMANENT):
                raise self._refused(error) from None
            return error.message

    async def _run(self, stream: ProxyStream, accepted: pb.Accepted) -> None:
        self._credential = accepted.session
        again, self._accepted = ("again " if self._accepted else ""), True
        log.info("connected %sto the proxy at %s", again, self._address)
        self._stream = stream
        self._no_stream.clear()
        interval_s = timedelta_of(accepted.heartbeat_interval).total_seconds()
        if interval_s <= 0:
            interval_s = _DEFAULT_INTERVAL_S
        try:
            await stream.run(interval_s, None if self._gone_after is None else interval_s)
        finally:
            self._stream = None
            self._no_stream.set()
            self._heard_at = asyncio.get_running_loop().time()

    def _refused(self, error: PrismError) -> PrismError:
        message = f"the proxy at {self._address} refuses this pattern: {error.message}"
        return type(error)(message, reason=error.reason)

    def _gone(self, seconds: float) -> str:
        if not self._accepted:
            raise BackendUnavailable(
                f"no proxy answered at {self._address} within {seconds:g} s; "
                "leave out --proxy-address to serve without one"
            )
        return f"the proxy at {self._address} is gone: out of reach for {seconds:g} s"
