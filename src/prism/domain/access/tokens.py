"""Tokens of callers, known by their hashes alone."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from hashlib import sha256

from prism.domain.access.identity import Identity
from prism.ports import InvalidArgument

_LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})\s+sha256:(?P<hash>[0-9a-f]{64})")

_RANDOM_BYTES = 32


class Tokens:
    """Tokens that are valid, by their SHA-256 hashes.

    A hash without salt is enough for a token that nobody has chosen: `new_token` makes it of
    256 random bits.

    Args:
        names: names of the tokens by hash; several tokens may have one name.
    """

    def __init__(self, names: Mapping[bytes, str] | None = None) -> None:
        self._identities = {
            digest: Identity((f"token:{name}",)) for digest, name in (names or {}).items()
        }

    def __len__(self) -> int:
        return len(self._identities)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Tokens) and other._identities == self._identities

    __hash__ = None  # type: ignore[assignment]

    def find(self, digest: bytes) -> Identity | None:
        """Return the identity of a token; None: the token is not valid.

        Args:
            digest: hash by `digest_of`. A hash that begins like a valid one says nothing about the
                token, so the time of the look-up reveals nothing.
        """
        return self._identities.get(digest)


def digest_of(token: str) -> bytes:
    """Return the hash of a token."""
    return sha256(token.encode("utf-8", "surrogateescape")).digest()


def new_token(name: str) -> tuple[str, str]:
    """Return a new token, and the line that makes it valid in a file of tokens.

    Raises:
        InvalidArgument: the name is not valid.
    """
    token = f"prism_{secrets.token_urlsafe(_RANDOM_BYTES)}"
    line = f"{name} sha256:{digest_of(token).hex()}"
    if _LINE.fullmatch(line) is None:
        raise InvalidArgument(
            f"the name {name!r} is not valid: it has 1 to 64 letters, digits, '.', '_' or '-', "
            "and begins with a letter or digit"
        )
    return token, line


def parse_tokens(text: str) -> Tokens:
    """Return the tokens of a file: a line for each, `NAME sha256:HASH`; `#` begins a comment.

    Raises:
        InvalidArgument: a line is not valid; names its number, and not what it holds.
    """
    names: dict[bytes, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        content = line.partition("#")[0].strip()
        if not content:
            continue
        found = _LINE.fullmatch(content)
        if found is None:
            raise InvalidArgument(
                f"line {number} is not 'NAME sha256:HASH', as `prism policy token NAME` prints it"
            )
        digest = bytes.fromhex(found["hash"])
        if names.setdefault(digest, found["name"]) != found["name"]:
            raise InvalidArgument(f"line {number} has the hash of a line before, with another name")
    return Tokens(names)
