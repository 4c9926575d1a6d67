"""The caller of the current request."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from time import time

from prism.domain.access.identity import Identity
from prism.domain.access.policy import Rights


class Caller:
    """Caller of requests that show the same credentials.

    Attributes:
        identity: its identity.
        generation: generation of the access control at which the identity was found.
        ends_at: time at which its credentials end, in seconds since 1970; None: they do not.
        rights: its rights, which the access control keeps here; None: not computed yet.
        pattern: pattern that `rights` is about.
    """

    __slots__ = ("_identify", "ends_at", "generation", "identity", "pattern", "rights")

    def __init__(
        self,
        identity: Identity,
        generation: int,
        identify: Callable[[], Identity] | None = None,
        ends_at: float | None = None,
    ) -> None:
        """Make a caller.

        Args:
            identify: finds the identity again, when tokens may have changed; raises
                Unauthenticated if its credentials are not valid any more. None: it stays.
        """
        self.identity = identity
        self.generation = generation
        self.ends_at = ends_at
        self.rights: Rights | None = None
        self.pattern = ""
        self._identify = identify

    @property
    def has_ended(self) -> bool:
        """Whether its credentials have ended."""
        return self.ends_at is not None and self.ends_at <= time()

    def renew(self, generation: int) -> None:
        """Find its identity again; raises Unauthenticated if its credentials are not valid."""
        if self._identify is not None:
            self.identity = self._identify()
        self.generation = generation
        self.rights = None


# A context variable, because the key-value ports have no parameter for the caller.
current_caller: ContextVar[Caller | None] = ContextVar("current_caller", default=None)
"""Caller of the current request, set by a door; None: no door has identified it."""
