"""What a test gets, and what the author of a driver supplies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

from prism.ports import Driver, FullKeyValue, LifecycleControl, Profile

Wrap: TypeAlias = Callable[[Driver[Any]], Driver[Any]]
"""Wraps a new driver, to block, record or break its operations."""


Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[FullKeyValue]]


class Level(IntEnum):
    """How far the test is from the driver."""

    IN_PROCESS = 1
    WIRE = 2
    PROXY = 3


class BackendServer(Protocol):
    """The server behind a driver, where the fixture owns it and may take it away."""

    async def pause(self) -> None:
        """Stop its process where it stands: it accepts, and answers nothing."""
        ...

    async def resume(self) -> None:
        """Let it go on."""
        ...

    async def kill(self) -> None:
        """End its process at once, as a crash would."""
        ...

    async def start(self) -> None:
        """Start it again, at the same address and with what it had acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend under test, reached through the ports.

    Attributes:
        kv: the gateway around the driver, or a client of it.
        lifecycle: the state machine around the driver, or a client of it.
        level: how far `kv` and `lifecycle` are from the driver.
        settings: what `lifecycle.initialize` takes to bring this backend up.
        describe: answers the profile, which is whole once initialized.
        server: behind the driver, where there is one that a test may take away.
        connect: opens one more client of the same backend, with a connection of its
            own; None where there are no connections.
        max_in_flight: operations that one client may have in flight.
    """

    kv: FullKeyValue
    lifecycle: LifecycleControl
    level: Level
    settings: Mapping[str, str]
    describe: Callable[[], Profile]
    server: BackendServer | None = None
    connect: Connect | None = None
    max_in_flight: int = 100

    @property
    def profile(self) -> Profile:
        """Capabilities and limits as they are now."""
        return self.describe()


class OpenBackend(Protocol):
    """The one thing an author supplies: `levels.in_process` and its siblings make it."""

    def __call__(
        self, *, wrap: Wrap | None = None, start: bool = True
    ) -> AbstractAsyncContextManager[Backend]:
        """Open a backend that nobody else commands, and close it afterwards.

        Backends opened by the same factory may share one store. The body may stop
        the backend: closing copes with every state.

        Args:
            wrap: put around the driver before anything else sees it. Where the
                driver is out of reach, skip with `not reachable at this level: …`.
            start: bring it up to running; otherwise leave it in created where the
                level permits, and running where not.
        """
        ...
