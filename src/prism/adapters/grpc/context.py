"""Context of a call, as a servicer sees it."""

from __future__ import annotations

from typing import Protocol

PATTERN = "prism-pattern"
"""Metadata key by which a call names a pattern."""


class CallContext(Protocol):
    """One call, on any transport."""

    @property
    def connection(self) -> str:
        """Name of the caller's connection; empty: unknown to the transport."""
        ...

    @property
    def pattern(self) -> str:
        """Name of the proxy's pattern that the call asks for; empty: none."""
        ...

    @property
    def timeout_s(self) -> float | None:
        """Seconds until the caller's deadline; None: the caller set none."""
        ...

    def metadata(self, name: str) -> str | None:
        """Return the first value of a metadata key; None: there is none."""
        ...
