"""A pattern that is expected to call back; implements the domain's `PendingRegistration`."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable

from prism.adapters.grpc.servicers.pattern_control.options import ReceptionOptions
from prism.adapters.grpc.servicers.pattern_control.session import PatternSession
from prism.adapters.wire.pattern_messages import PROTOCOL_VERSION, registration_of
from prism.domain.patterns.ports import OnDebugEvent, OnEvent
from prism.domain.patterns.values import EventKind, PatternSpec
from prism.ports import NotServing, PreconditionFailed, PrismError
from prism.v1 import pattern_pb2 as pb


class PatternVisit:
    """Lets one in: by its token, until it has been heard, and then by the secret of its session.

    Args:
        closed: called when nothing more is expected of it.
    """

    def __init__(
        self,
        spec: PatternSpec,
        options: ReceptionOptions,
        on_event: OnEvent,
        on_debug_event: OnDebugEvent,
        closed: Callable[[PatternVisit], None],
    ) -> None:
        self._spec = spec
        self._options = options
        self._on_event = on_event
        self._on_debug_event = on_debug_event
        self._when_closed = closed
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
        self._when_closed(self)
        self._refuse(NotServing("it is no longer expected"))
        if self._session is not None:
            self._session.close()

    def is_for(self, shown: str, process_id: int) -> bool:
        """Whether that lets it in; takes the same time whatever is shown."""
        session = self._session
        is_token = hmac.compare_digest(shown.encode(), self._token.encode())
        if session is None:
            return is_token and not self._refusal
        is_secret = hmac.compare_digest(shown.encode(), session.secret.encode())
        # Its stream may have broken before it could read the secret.
        unheard = not session.heard and session.registration.process_id == process_id
        return (is_secret or (is_token and unheard)) and not session.over

    def admit(self, message: pb.Registration) -> PatternSession:
        """Let it in.

        Raises:
            PreconditionFailed: it is not what is expected.
            InvalidArgument: it does not say what it has to.
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
                self._spec.name, registration, self._options, self._on_event, self._on_debug_event
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
                f"its driver is {message.driver!r}; expected is {self._spec.driver!r}",
                reason="WRONG_DRIVER",
            )

    def _refuse(self, error: PrismError) -> None:
        self._refusal = self._refusal or error.message
        self._settled.set()
