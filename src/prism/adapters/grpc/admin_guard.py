"""Check that a caller of lifecycle and pattern commands is an administrator."""

from __future__ import annotations

import hmac
from typing import Protocol

from prism.adapters.grpc.context import CallContext, peer_of_call
from prism.domain.access.control import AccessControl
from prism.domain.access.policy import Action
from prism.domain.login_attempts import LoginAttempts
from prism.ports import AccessDenied, Unauthenticated


class Guard(Protocol):
    """Check that a caller is an administrator."""

    async def check(self, context: CallContext) -> None:
        """Return if the caller is an administrator.

        Raises:
            Unauthenticated: it has shown no credentials.
            AccessDenied: it is not one.
            Exhausted: too many calls of the peer wait, after wrong tokens.
        """
        ...


class AdminGuard:
    """Check of the admin token.

    After a wrong token, the next one of the same peer is compared only after a pause.

    Args:
        token: expected in the metadata `authorization: Bearer …`; None: no token is set.
        required: whether calls are refused when no token is set.
    """

    def __init__(self, token: str | None, *, required: bool) -> None:
        self.expect(token)
        self._required = required
        self._attempts = LoginAttempts("admin token")

    def expect(self, token: str | None) -> None:
        """Expect this token from now on; None: no token is set."""
        self._expected = f"Bearer {token}".encode() if token else None

    async def check(self, context: CallContext) -> None:
        if self._expected is None:
            if self._required:
                raise AccessDenied(
                    "lifecycle calls are switched off: this server listens beyond loopback "
                    "and was started without --admin-token-file"
                )
            return
        shown = context.metadata("authorization")
        if shown is None:
            raise Unauthenticated(
                "lifecycle calls need the admin token: send it as 'authorization: Bearer …'"
            )
        peer = peer_of_call(context)
        await self._attempts.wait_for_turn(peer)
        if hmac.compare_digest(shown.encode(), self._expected):
            self._attempts.succeeded(peer)
            return
        self._attempts.failed(peer)
        raise AccessDenied("the admin token is wrong")


class PolicyGuard:
    """Check that the policy lets the caller administer the server."""

    def __init__(self, control: AccessControl) -> None:
        self._control = control

    async def check(self, context: CallContext) -> None:
        self._control.check_server(Action.ADMIN)
