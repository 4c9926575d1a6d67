"""Logins: from the credentials that a caller shows to the caller of the request."""

from __future__ import annotations

from prism.domain.access.audit import AuditEvent, Record
from prism.domain.access.control import AccessControl
from prism.domain.access.identity import ANONYMOUS, Caller, Identity, current_caller
from prism.domain.access.tokens import Tokens, digest_of
from prism.domain.login_attempts import LoginAttempts
from prism.ports import Unauthenticated

_MAX_REMEMBERED = 4096
"""Callers that are kept; certificates can have any number of names."""


class Logins:
    """Identifies the callers of every door.

    A caller without a token and without another name is anonymous; the policy may allow something
    to anonymous callers. A caller with a wrong token is refused.

    Args:
        tokens: tokens that are valid.
        record: writes wrong tokens to the audit log; None: there is none.

    Attributes:
        control: decides what callers may do.
    """

    def __init__(
        self, control: AccessControl, tokens: Tokens, record: Record | None = None
    ) -> None:
        self.control = control
        self._record = record
        self._tokens = tokens
        self._callers: dict[tuple[str | None, tuple[str, ...]], Caller] = {}
        self._attempts = LoginAttempts("token")

    def replace_tokens(self, tokens: Tokens) -> None:
        """Let these tokens be valid from now on, and no others."""
        self._tokens = tokens
        self._callers.clear()
        self.control.credentials_changed()

    def identify(self, authorization: str | None, names: tuple[str, ...] = ()) -> bool:
        """Make a caller the current one; False: it shows a token that is not valid.

        Args:
            authorization: `Bearer TOKEN`, as the caller sent it; None: nothing was sent.
            names: names that are proven otherwise, as by a certificate.
        """
        caller = self.caller(authorization, names)
        if caller is None:
            return False
        current_caller.set(caller)
        return True

    def caller(self, authorization: str | None, names: tuple[str, ...] = ()) -> Caller | None:
        """Return the caller with these credentials; None: its token is not valid.

        The arguments are those of `identify`.
        """
        caller = self._callers.get((authorization, names))
        if caller is None:
            caller = self._new_caller(authorization, names)
            if caller is None:
                return None
            if len(self._callers) >= _MAX_REMEMBERED:
                self._callers.clear()
            self._callers[authorization, names] = caller
        return caller

    def _new_caller(self, authorization: str | None, names: tuple[str, ...]) -> Caller | None:
        generation = self.control.generation
        if authorization is None:
            return Caller(Identity(names) if names else ANONYMOUS, generation)
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer":
            return None
        digest = digest_of(token.strip())
        found = self._find(digest, names)

        def find_again() -> Identity:
            again = self._find(digest, names)
            if again is None:
                raise _refusal("the token is not valid any more")
            return again

        return None if found is None else Caller(found, generation, find_again)

    async def refuse(self, peer: str) -> None:
        """Refuse a wrong token: at once the first time, and later after a pause that grows.

        Callers of the same address with a right token do not wait. A token has 256 random
        bits, so the pauses are not what keeps anybody from guessing one.

        Raises:
            Unauthenticated: always, unless Exhausted.
            Exhausted: too many calls of the peer wait for such a refusal.
        """
        await self._attempts.wait_for_turn(peer)
        self._attempts.failed(peer)
        if self._record is not None:
            self._record(AuditEvent("wrong token", "connect", "UNAUTHENTICATED", peer, ()))
        raise _refusal("the token is not valid")

    def _find(self, digest: bytes, names: tuple[str, ...]) -> Identity | None:
        found = self._tokens.find(digest)
        return Identity((*found.names, *names)) if found is not None and names else found


def _refusal(what: str) -> Unauthenticated:
    return Unauthenticated(f"{what}: send a valid one as 'authorization: Bearer …'")
