"""What a test gets, and what the author of a driver supplies."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol, TypeAlias

from prism.ports import Driver, FullKeyValue, LifecycleControl, Profile

Wrap: TypeAlias = Callable[[Driver[Any]], Driver[Any]]
"""Puts something around a new driver: a gate, a recorder, a fault."""


class Level(IntEnum):
    """How far the test is from the driver."""

    IN_PROCESS = 1
    WIRE = 2
    PROXY = 3


@dataclass(frozen=True, slots=True)
class Backend:
    """A backend under test, reached through the ports.

    Attributes:
        kv: the gateway around the driver, or a client of it.
        lifecycle: the state machine around the driver, or a client of it.
        level: how far `kv` and `lifecycle` are from the driver.
        settings: what `lifecycle.initialize` takes to bring this backend up.
        describe: answers the profile, which is whole once initialized.
    """

    kv: FullKeyValue
    lifecycle: LifecycleControl
    level: Level
    settings: Mapping[str, str]
    describe: Callable[[], Profile]

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
