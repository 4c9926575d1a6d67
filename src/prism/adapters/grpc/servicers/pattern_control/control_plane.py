"""Registrations of patterns: which processes are expected, and which may open a stream."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.pattern_control.session import PatternSession
from prism.adapters.wire.pattern_messages import PROTOCOL_VERSION, registration_of
from prism.domain.patterns.ports import OnDebugEvent, OnEvent
from prism.domain.patterns.values import EventKind, PatternSpec
from prism.ports import (
    BackendTimeout,
    InvalidArgument,
    NotServing,
    PreconditionFailed,
    PrismError,
    Unauthenticated,
)
from prism.v1 import pattern_pb2 as pb

_BEARER = "Bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneOptions:
    """Times that hold for every control stream.

    Attributes:
        heartbeat_interval: time between two heartbeats; silence for two ends the stream.
        lost_after: how long a pattern may take to open a new stream after one broke.
        registration_timeout: maximum time from the opening of a stream to the registration.
    """

    heartbeat_interval: timedelta = timedelta(seconds=1)
    lost_after: timedelta = timedelta(seconds=5)
    registration_timeout: timedelta = timedelta(seconds=5)


class PatternControlPlane:
    """Accepts the registrations of expected processes; implements `ControlPlane`."""

    def __init__(self, options: ControlPlaneOptions | None = None) -> None:
        self.options = options or ControlPlaneOptions()
        self._expected: set[ExpectedPattern] = set()

    def expect(
        self, spec: PatternSpec, *, on_event: OnEvent, on_debug_event: OnDebugEvent
    ) -> ExpectedPattern:
        expected = ExpectedPattern(
            spec, self.options, on_event, on_debug_event, self._expected.discard
        )
        self._expected.add(expected)
        return expected

    def admit(self, credential: str, registration: pb.Registration) -> PatternSession:
        """Return the session of the process that the credential belongs to.

        Args:
            credential: one-time token, or secret of a session.

        Raises:
            Unauthenticated: the credential is unknown.
            PreconditionFailed: driver or protocol version are not the expected ones.
            InvalidArgument: the registration is incomplete.
        """
        for expected in tuple(self._expected):
            if expected.accepts(credential, registration.process_id):
                return expected.admit(registration)
        raise Unauthenticated(
            "the token is unknown to this proxy, or was used before: a pattern registers once "
            "with the token of its launch, and returns with the secret of its session"
        )


class ExpectedPattern:
    """A process that is expected to register; implements `PendingRegistration`.

    The one-time token admits it until the first message after its registration; from then
    on the secret of its session does.

    Args:
        on_closed: called when nothing more is expected.
    """

    def __init__(
        self,
        spec: PatternSpec,
        options: ControlPlaneOptions,
        on_event: OnEvent,
        on_debug_event: OnDebugEvent,
        on_closed: Callable[[ExpectedPattern], None],
    ) -> None:
        self._spec = spec
        self._options = options
        self._on_event = on_event
        self._on_debug_event = on_debug_event
        self._on_closed = on_closed
        self._token = secrets.token_urlsafe()
        self._session: PatternSession | None = None
        self._refusal = ""
        self._settled = asyncio.Event()

    @property
    def token(self) -> str:
        return self._token

    async def session(self) -> PatternSession:
        await self._settled.wait()
        if self._session is None:
            raise PreconditionFailed(
                f"the pattern {self._spec.name!r} was refused: {self._refusal}",
                reason="REFUSED",
            )
        return self._session

    def close(self) -> None:
        self._on_closed(self)
        self._refuse(NotServing("it is no longer expected"))
        if self._session is not None:
            self._session.close()

    def accepts(self, credential: str, process_id: int) -> bool:
        """Whether the credential admits the process; compared in constant time."""
        session = self._session
        is_token = hmac.compare_digest(credential.encode(), self._token.encode())
        if session is None:
            return is_token and not self._refusal
        is_secret = hmac.compare_digest(credential.encode(), session.secret.encode())
        # The stream may have broken before the process received the secret.
        unheard = not session.heard and session.registration.process_id == process_id
        return (is_secret or (is_token and unheard)) and not session.over

    def admit(self, message: pb.Registration) -> PatternSession:
        """Begin the session, or return the one that the process has.

        Raises:
            PreconditionFailed: driver or protocol version are not the expected ones.
            InvalidArgument: the registration is incomplete.
        """
        try:
            self._check(message)
            registration = registration_of(message)
        except PrismError as error:
            self._on_event(EventKind.REFUSED, error.message)
            self._refuse(error)
            raise
        if self._session is None:
            self._session = PatternSession(
                self._spec.name,
                registration,
                heartbeat_interval=self._options.heartbeat_interval,
                lost_after=self._options.lost_after,
                on_event=self._on_event,
                on_debug_event=self._on_debug_event,
            )
            self._settled.set()
        else:
            self._session.returned(registration)
        return self._session

    def _check(self, message: pb.Registration) -> None:
        if message.protocol_version != PROTOCOL_VERSION:
            raise PreconditionFailed(
                f"it speaks version {message.protocol_version} of the control stream, and this "
                f"proxy version {PROTOCOL_VERSION}: run the same Prism on both sides",
                reason="PROTOCOL_VERSION",
            )
        if message.driver != self._spec.driver:
            raise PreconditionFailed(
                f"its driver is {message.driver!r}, and must be {self._spec.driver!r}",
                reason="WRONG_DRIVER",
            )

    def _refuse(self, error: PrismError) -> None:
        self._refusal = self._refusal or error.message
        self._settled.set()


class PatternControlServicer:
    """PatternControlService, whose one call is a stream of the control plane."""

    def __init__(self, control_plane: PatternControlPlane) -> None:
        self._control_plane = control_plane
        self._timeout_s = control_plane.options.registration_timeout.total_seconds()

    async def connect(
        self, requests: AsyncIterator[pb.ConnectRequest], context: CallContext
    ) -> AsyncGenerator[pb.ConnectResponse, None]:
        credential = (context.metadata("authorization") or "").removeprefix(_BEARER)
        # Read before any refusal: a client that is still writing when its stream ends
        # does not get the status.
        registration = await self._read_registration(requests)
        session = self._control_plane.admit(credential, registration)
        async with aclosing(session.serve(requests)) as messages:
            async for message in messages:
                yield message

    async def _read_registration(
        self, requests: AsyncIterator[pb.ConnectRequest]
    ) -> pb.Registration:
        try:
            async with asyncio.timeout(self._timeout_s):
                first = await anext(requests)
        except TimeoutError:
            raise BackendTimeout(f"no registration came within {self._timeout_s:g} s") from None
        except StopAsyncIteration:
            raise InvalidArgument("the stream ended before there was a registration") from None
        if first.WhichOneof("message") != "registration":
            raise InvalidArgument("the first message of a stream has to be a registration")
        return first.registration
