"""Checks tokens: signature, issuer, audience and time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Protocol

import jwt

from prism.adapters.jwt.keys import KeySet
from prism.domain.access.logins import SignedToken, UnknownKey
from prism.ports import NotServing, Unauthenticated

_MAX_BYTES = 16 << 10
"""Longer tokens are refused before anything in them is read."""

_MAX_GROUPS = 256
_MAX_NAME = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtOptions:
    """What a token must have.

    Attributes:
        algorithms: algorithms that may have signed it; none of them is symmetric.
        clock_skew: how far the clocks of issuer and server may differ.
        name_claim: claim with the name of the caller.
        groups_claim: claim with the names of its groups, which a token need not have.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...]
    clock_skew: timedelta = timedelta(seconds=30)
    name_claim: str = "sub"
    groups_claim: str = "groups"


class Keys(Protocol):
    """Where keys come from."""

    @property
    def current(self) -> KeySet | None:
        """The keys that are known; None: there are none yet."""
        ...

    async def refresh(self) -> bool:
        """Look for newer keys, if that was not done just now; return whether there are any."""
        ...


class JwtVerifier:
    """Implementation of `SignedTokens`."""

    def __init__(self, options: JwtOptions, keys: Keys) -> None:
        self._options = options
        self._keys = keys

    def verify(self, token: str) -> SignedToken | None:
        options = self._options
        if token.count(".") != 2:
            return None
        if len(token) > _MAX_BYTES:
            raise Unauthenticated(f"it is longer than {_MAX_BYTES:,} bytes")
        try:
            header = jwt.get_unverified_header(token)
        except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
            raise Unauthenticated("it is no JWT") from None
        algorithm, key_id = header.get("alg"), header.get("kid")
        if algorithm not in options.algorithms:
            allowed = ", ".join(options.algorithms)
            raise Unauthenticated(f"its algorithm is none of {allowed}")
        if "crit" in header:
            raise Unauthenticated("it has an extension that is not known")
        claims = self._claims(token, self._key(key_id, algorithm))
        return SignedToken(
            tuple(self._names(claims)),
            float(claims["exp"]) + options.clock_skew.total_seconds(),
        )

    async def refresh(self) -> bool:
        return await self._keys.refresh()

    def _key(self, key_id: str | None, algorithm: str) -> jwt.PyJWK:
        keys = self._keys.current
        if keys is None:
            raise NotServing(
                f"no key of the issuer {self._options.issuer} is known yet, so no JWT can be "
                "checked; the server's log says why"
            )
        key = keys.find(key_id, algorithm)
        if key is None:
            raise UnknownKey("it is signed with a key that the server does not know")
        return key

    def _claims(self, token: str, key: jwt.PyJWK) -> Mapping[str, Any]:
        options = self._options
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=options.issuer,
                audience=options.audience,
                leeway=options.clock_skew,
                options={"require": ["exp", options.name_claim]},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("it has expired") from None
        except jwt.ImmatureSignatureError:
            raise Unauthenticated("its time has not begun") from None
        except jwt.InvalidAudienceError:
            raise Unauthenticated(f"its audience is not {options.audience}") from None
        except jwt.InvalidIssuerError:
            raise Unauthenticated(f"its issuer is not {options.issuer}") from None
        except jwt.MissingRequiredClaimError as error:
            raise Unauthenticated(f"it has no claim {error.claim}") from None
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            raise Unauthenticated("its signature or its form is wrong") from None

    def _names(self, claims: Mapping[str, Any]) -> Iterator[str]:
        """Yield the names of the caller: its own, and those of its groups."""
        options = self._options
        name = claims[options.name_claim]
        if not _is_name(name):
            raise Unauthenticated(f"its claim {options.name_claim} is not the name of a caller")
        yield f"jwt:{name}"
        groups = claims.get(options.groups_claim)
        # A single group is often given without a list.
        listed = [groups] if isinstance(groups, str) else [] if groups is None else groups
        # None is left out: a rule may forbid something to one of them.
        if (
            not isinstance(listed, list)
            or len(listed) > _MAX_GROUPS
            or not all(map(_is_name, listed))
        ):
            raise Unauthenticated(f"its claim {options.groups_claim} is not a list of groups")
        for group in listed:
            yield f"jwt-group:{group}"


def _is_name(name: object) -> bool:
    """Return whether this can be shown, and so not look like another name."""
    return isinstance(name, str) and 0 < len(name) <= _MAX_NAME and name.isprintable()
