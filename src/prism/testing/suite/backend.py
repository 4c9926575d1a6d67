"""The backend under test, and the factory that the author of a driver supplies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Never, Protocol, TypeAlias

from prism.ports import Driver, FullKeyValue, LifecycleControl, Profile

Wrap: TypeAlias = Callable[[Driver[Never]], Driver[Never]]
"""Wraps a new driver, to block, record or break its operations."""


Connect: TypeAlias = Callable[[], AbstractAsyncContextManager[FullKeyValue]]


class Level(IntEnum):
    """Distance between the test and the driver."""

    IN_PROCESS = 1
    WIRE = 2
    PROXY = 3


class BackendServer(Protocol):
    """Server behind a driver that tests may pause and kill, because the fixture owns it."""

    async def pause(self) -> None:
        """Suspend the process: the server accepts connections and does not answer."""
        ...

    async def resume(self) -> None:
        """Resume the process."""
        ...

    async def kill(self) -> None:
        """Kill the process, as a crash would."""
        ...

    async def start(self) -> None:
        """Start the server again at the same address, with all data that it had acknowledged."""
        ...


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend under test, reached through the ports.

    Attributes:
        kv: the gateway around the driver, or a client of it.
        lifecycle: the state machine around the driver, or a client of it.
        level: distance of `kv` and `lifecycle` from the driver.
        settings: argument for `lifecycle.initialize` that brings this backend up.
        describe: returns the profile, which is complete once the backend is initialized.
        server: server behind the driver; None: tests cannot take one away.
        connect: opens one more client of the same backend, with a connection of its own;
            None: there are no connections at this level.
        max_in_flight: largest number of operations that one client may have in flight.
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
        """Capabilities and limits."""
        return self.describe()


class OpenBackend(Protocol):
    """Factory of backends: the one thing that the author of a driver supplies.

    `prism.testing.levels` has functions that make one.
    """

    def __call__(
        self, *, wrap: Wrap | None = None, start: bool = True
    ) -> AbstractAsyncContextManager[Backend]:
        """Open a backend that only this test commands, and close it afterwards.

        Backends of one factory may share a store. The body may stop the backend.

        Args:
            wrap: wrapper around the driver, below everything else. Where the driver cannot
                be wrapped, the factory skips the test with `not reachable at this level: …`.
            start: whether to bring the backend to running. Otherwise it stays in created
                where the level permits that, and is running where not.
        """
        ...
