"""Ports of pattern supervision, which adapters implement: processes, registrations, sessions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Never, Protocol, TypeAlias

from prism.domain.patterns.journal import Journal
from prism.domain.patterns.values import DebugEvent, EventKind, PatternSpec, Registration
from prism.domain.redaction import Redact
from prism.ports import Driver, LifecycleControl


class Process(Protocol):
    """A started process."""

    @property
    def pid(self) -> int:
        """The process id, also after the process has ended."""
        ...

    async def wait(self) -> str:
        """Wait for the process to end.

        Returns:
            How it ended, such as `exited with status 1: …` with its last error.
        """
        ...

    def terminate(self) -> None:
        """Send SIGTERM; does nothing once the process has ended."""
        ...

    def kill(self) -> None:
        """Send SIGKILL; does nothing once the process has ended."""
        ...


class Launcher(Protocol):
    """Starts the processes of patterns."""

    async def launch(self, spec: PatternSpec, token: str) -> Process:
        """Start a process that registers with the token.

        Raises:
            InvalidArgument: there is no such driver.
            PreconditionFailed: the operating system refuses to start the process.
        """
        ...


class Session(Protocol):
    """A registered pattern; outlives its control stream, which may break and return."""

    @property
    def registration(self) -> Registration:
        """The latest registration."""
        ...

    def expect_end(self) -> None:
        """Report no loss from now on: the process is being stopped."""
        ...

    async def wait_lost(self) -> str:
        """Wait until the control stream broke and did not return in time.

        Returns:
            The reason, as a sentence.
        """
        ...


class PendingRegistration(Protocol):
    """A process that is expected to register. The expecting side calls `close`."""

    @property
    def token(self) -> str:
        """One-time token that the process registers with."""
        ...

    async def session(self) -> Session:
        """Wait until the process has registered; the caller bounds the wait.

        Raises:
            PreconditionFailed: the process sent the token, and was refused.
        """
        ...

    def close(self) -> None:
        """Expect nothing more, and end the control stream. Safe to repeat."""
        ...


OnEvent: TypeAlias = Callable[[EventKind, str], None]
"""Called with the kind of an event and a sentence."""

OnDebugEvent: TypeAlias = Callable[[DebugEvent], None]


class ControlPlane(Protocol):
    """Accepts the registrations of patterns."""

    def expect(
        self, spec: PatternSpec, *, on_event: OnEvent, on_debug_event: OnDebugEvent
    ) -> PendingRegistration:
        """Expect the registration of one process.

        Args:
            on_event: called with REFUSED, LOST and RETURNED.
            on_debug_event: called with each debug event of the process.
        """
        ...


OpenLifecycle: TypeAlias = Callable[[str, str], AbstractAsyncContextManager[LifecycleControl]]
"""Connects to a pattern, given its name (for errors) and its data address, for commands.

The connection is not the one for operations, so that these delay no command.
"""

OpenDriver: TypeAlias = Callable[[str, str], Awaitable[Driver[Never]]]
"""Connects to a pattern, given its name (for errors) and its data address, for operations.

Returns a driver whose `stop` closes the connection.
"""


@dataclass(frozen=True, slots=True)
class SupervisionPorts:
    """Everything that supervision needs from outside.

    Attributes:
        journal: receives the events of all patterns.
        redact: removes secrets from texts that patterns send.
    """

    launcher: Launcher
    control_plane: ControlPlane
    open_lifecycle: OpenLifecycle
    open_driver: OpenDriver
    journal: Journal
    redact: Redact = str
