"""Identities of callers."""

from __future__ import annotations

from dataclasses import dataclass

_ANONYMOUS = "anonymous"

HOW_TO_SEND = "'authorization: Bearer …' in gRPC and HTTP, AUTH for a Redis client"
"""How a caller shows a token at each door."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who calls, by every name that its credentials prove.

    Attributes:
        names: such as `token:orders`, `spiffe://prod/orders`, `dns:orders.internal`,
            `cn:orders` or `uid:1000`; never empty.
    """

    names: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.names)

    @property
    def is_anonymous(self) -> bool:
        """Whether the caller has shown no credentials."""
        return self.names == (_ANONYMOUS,)


ANONYMOUS = Identity((_ANONYMOUS,))
"""The identity of a caller without credentials."""


def bare_name(name: str) -> str:
    """Return a name without its kind: `orders` for `token:orders`; SPIFFE ids stay whole."""
    kind, separator, rest = name.partition(":")
    return name if not separator or kind == "spiffe" else rest
