"""Logins: from the credentials that a caller shows to the caller of the request."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from prism.domain.access.audit import AuditEvent, Record
from prism.domain.access.caller import Caller
from prism.domain.access.control import AccessControl
from prism.domain.access.identity import ANONYMOUS, HOW_TO_SEND, Identity
from prism.domain.access.tokens import Tokens, digest_of
from prism.domain.login_attempts import LoginAttempts
from prism.ports import NotServing, PrismError, Unauthenticated

_MAX_REMEMBERED = 4096
"""Callers that are kept; certificates can have any number of names."""


class Proven(NamedTuple):
    """What the connection of a caller proves.

    Attributes:
        names: names in its certificate, or of the user at the other end of a Unix socket.
        certificate: what identifies its certificate; None: it has shown none.
    """

    names: tuple[str, ...] = ()
    certificate: bytes | None = None


NOTHING = Proven()
"""What is proven by a connection that shows no certificate."""


class SignedToken(NamedTuple):
    """What a valid token of an issuer says.

    Attributes:
        names: names of the caller.
        ends_at: when the token ends, in seconds since 1970.
    """

    names: tuple[str, ...]
    ends_at: float


class UnknownKey(Unauthenticated):
    """The key that a token is signed with is not known; it may be a new one."""


class SignedTokens(Protocol):
    """Tokens that an issuer signs, such as JWTs."""

    def verify(self, token: str) -> SignedToken | None:
        """Return what a token says; None: the token does not have this form.

        Raises:
            Unauthenticated: it is not valid; the text is the reason, after "the token is not
                valid: ".
            UnknownKey: it may be valid once newer keys are known.
            NotServing: no key is known yet.
        """
        ...

    async def refresh(self) -> bool:
        """Look for newer keys, if that was not done just now; return whether there are any."""
        ...


class Logins:
    """Identifies the callers of every door.

    A caller without a token and without another name is anonymous; the policy may allow something
    to anonymous callers. A caller with a wrong token or a revoked certificate is refused.

    Args:
        tokens: tokens that are valid.
        record: writes refused logins to the audit log; None: there is none.
        signed: verifies tokens that an issuer has signed; None: no such token is valid.

    Attributes:
        control: decides what callers may do.
        by_token: callers that need no check: a token that does not end is all that they show. By
            what they send as `authorization`.
    """

    def __init__(
        self,
        control: AccessControl,
        tokens: Tokens,
        record: Record | None = None,
        signed: SignedTokens | None = None,
    ) -> None:
        self.control = control
        self._record = record
        self._tokens = tokens
        self._signed = signed
        self._revoked: frozenset[bytes] = frozenset()
        self.by_token: dict[str | bytes | None, Caller] = {}
        self._callers: dict[object, Caller] = {}
        self._attempts = LoginAttempts("token")

    def replace_tokens(self, tokens: Tokens) -> None:
        """Let these tokens be valid from now on, and no others that no issuer has signed."""
        self._tokens = tokens
        self.credentials_changed()

    def replace_revoked(self, certificates: frozenset[bytes]) -> None:
        """Refuse the holders of these certificates from now on, and of no others."""
        self._revoked = certificates
        self.credentials_changed()

    def credentials_changed(self) -> None:
        """Find out again who each caller is, before its next operation."""
        self._forget()
        self.control.credentials_changed()

    def caller(self, authorization: str | bytes | None, proven: Proven = NOTHING) -> Caller | None:
        """Return the caller with these credentials; None: only `log_in` can find the caller.

        Args:
            authorization: `Bearer TOKEN`, as the caller sent it; None: nothing was sent.
            proven: what is proven otherwise, as by a certificate.
        """
        key = authorization if proven is NOTHING else (authorization, proven)
        caller = self._callers.get(key)
        if caller is not None and not caller.has_ended:
            return caller
        self._callers.pop(key, None)
        try:
            caller = self._new_caller(authorization, proven)
        except PrismError:
            return None
        if len(self._callers) >= _MAX_REMEMBERED:
            self._forget()
        self._callers[key] = caller
        if proven is NOTHING and caller.ends_at is None:
            self.by_token[authorization] = caller
        return caller

    def _forget(self) -> None:
        self._callers.clear()
        self.by_token.clear()

    async def log_in(
        self, peer: str, authorization: str | bytes | None, proven: Proven = NOTHING
    ) -> Caller:
        """Return a caller that `caller` does not return, once newer keys are known, or refuse it.

        The arguments are those of `caller`.

        Raises:
            NotServing: no key is known that signs tokens.
            Unauthenticated, Exhausted: as `refuse`.
        """
        try:
            try:
                return self._new_caller(authorization, proven)
            except (UnknownKey, NotServing):
                if self._signed is None or not await self._signed.refresh():
                    raise
            return self._new_caller(authorization, proven)
        except Unauthenticated as error:
            refusal = error
        await self.refuse(peer, refusal)
        raise refusal

    async def refuse(self, peer: str, refusal: Unauthenticated) -> None:
        """Refuse a login: at once the first time, and later after a pause that grows.

        Callers of the same address with a right token do not wait. A token has 256 random
        bits, so the pauses are not what keeps anybody from guessing one.

        Raises:
            Unauthenticated: the refusal, unless Exhausted.
            Exhausted: too many calls of the peer wait for such a refusal.
        """
        await self._attempts.wait_for_turn(peer)
        self._attempts.failed(peer)
        if self._record is not None:
            self._record(AuditEvent("wrong token", "connect", "UNAUTHENTICATED", peer, ()))
        raise refusal

    def _new_caller(self, authorization: str | bytes | None, proven: Proven) -> Caller:
        generation = self.control.generation
        identity, ends_at = self._find(authorization, proven, "the token is not valid")
        if identity is ANONYMOUS:
            return Caller(identity, generation)

        def find_again() -> Identity:
            return self._find(authorization, proven, "the token is not valid any more")[0]

        return Caller(identity, generation, find_again, ends_at)

    def _find(
        self, authorization: str | bytes | None, proven: Proven, invalid: str
    ) -> tuple[Identity, float | None]:
        """Return the identity with these credentials, and when they end; raises PrismError."""
        if proven.certificate is not None and proven.certificate in self._revoked:
            raise Unauthenticated("the client certificate is revoked: present another one")
        if authorization is None:
            return Identity(proven.names) if proven.names else ANONYMOUS, None
        if isinstance(authorization, bytes):
            authorization = authorization.decode("latin-1")
        scheme, _, token = authorization.partition(" ")
        token = token.strip()
        if scheme.lower() == "bearer":
            found = self._tokens.find(digest_of(token))
            if found is not None:
                return Identity((*found.names, *proven.names)), None
            if self._signed is not None:
                try:
                    signed = self._signed.verify(token)
                except Unauthenticated as error:
                    raise type(error)(_advice(f"{invalid}: {error.message}")) from None
                if signed is not None:
                    return Identity((*signed.names, *proven.names)), signed.ends_at
        raise Unauthenticated(_advice(invalid))


def _advice(what: str) -> str:
    return f"{what}: send a valid one ({HOW_TO_SEND})"
