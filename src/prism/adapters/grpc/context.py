"""What a servicer may know of the call that it serves."""

from __future__ import annotations

from typing import Protocol

PATTERN = "prism-pattern"
"""The metadata in which a call names a pattern."""


class CallContext(Protocol):
    """One call, whatever carries it."""

    @property
    def connection(self) -> str:
        """Which connection it came by; empty when the transport cannot tell."""
        ...

    @property
    def pattern(self) -> str:
        """Which pattern behind a proxy it names; empty: none."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Seconds left until the caller's deadline; None: the caller set none."""
        ...

    def metadata(self, name: str) -> str | None:
        """The first value of a metadata key; None when there is none."""
        ...
