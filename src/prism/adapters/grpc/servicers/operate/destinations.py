"""Where the operations of a stream go to."""

from __future__ import annotations

from typing import Protocol


class Destinations(Protocol):
    """Whom an operation is handed to."""

    def pattern_of(self, name: str) -> str:
        """The own name of the pattern that is named; empty: none is.

        Raises:
            PreconditionFailed: there is no such pattern.
        """
        ...

    def keeper_of(self, pattern: str) -> object | None:
        """Who keeps the order of what is handed to it, in this step of the loop.

        What goes to the same keeper need not wait for what went there before; None: it must.
        """
        ...
