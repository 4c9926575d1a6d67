"""What the supervision of patterns needs of the world outside; adapters implement it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeAlias

from prism.domain.patterns.values import DebugEvent, EventKind, PatternSpec, Registration
from prism.ports import Driver, LifecycleControl


class Process(Protocol):
    """A process that was started."""

    @property
    def pid(self) -> int:
        """Its number, also after its end."""
        ...

    async def ended(self) -> str:
        """Wait for its end.

        Returns:
            How it ended, such as `exited with status 1: …` and the last it printed.
        """
        ...

    def terminate(self) -> None:
        """Ask it to end (SIGTERM); nothing when it has."""
        ...

    def kill(self) -> None:
        """End it (SIGKILL); nothing when it has."""
        ...


class Launcher(Protocol):
    """Starts processes, one for each launch of a pattern."""

    async def launch(self, spec: PatternSpec, token: str) -> Process:
        """Start one, which will call back with the token.

        Raises:
            InvalidArgument: there is no such driver.
            PreconditionFailed: this machine does not let us.
        """
        ...


class Session(Protocol):
    """A pattern that has called back and was accepted, also while its stream is broken."""

    @property
    def registration(self) -> Registration:
        """What it said of itself, last."""
        ...

    @property
    def lifecycle(self) -> LifecycleControl:
        """Commands to it. While its stream is broken they wait, within their bounds."""
        ...

    async def lost(self) -> str:
        """Wait until its stream broke and did not come back in time; why, in a sentence."""
        ...


class PendingRegistration(Protocol):
    """A pattern that is expected to call back. Whoever expects it closes this."""

    @property
    def token(self) -> str:
        """What it has to show, once."""
        ...

    async def registered(self) -> Session:
        """Wait until it has called back; the caller bounds it.

        Raises:
            PreconditionFailed: it showed the token, and was refused.
        """
        ...

    def close(self) -> None:
        """Nothing more is expected of it; its stream ends. Safe more than once."""
        ...


OnEvent: TypeAlias = Callable[[EventKind, str], None]
OnDebugEvent: TypeAlias = Callable[[DebugEvent], None]


class ControlPlane(Protocol):
    """Where patterns call back."""

    def expect(
        self, spec: PatternSpec, *, happened: OnEvent, told: OnDebugEvent
    ) -> PendingRegistration:
        """Let one call back.

        Args:
            happened: called with REFUSED, LOST and RETURNED, and a sentence.
            told: called with each debug event.
        """
        ...


OpenDriver: TypeAlias = Callable[[str, str], Awaitable[Driver[Any]]]
"""From a pattern's name, for errors to tell, and a data address to a connected driver,
whose `stop` closes the connection."""
