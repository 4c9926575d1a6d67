"""How a backend is brought up, drained, and closed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Protocol, TypeVar

SettingsT_contra = TypeVar("SettingsT_contra", contravariant=True)

DRAIN_TIMEOUT = timedelta(seconds=30)
STOP_TIMEOUT = timedelta(seconds=10)


class State(StrEnum):
    """created → initialized → running → draining → stopped, and failed."""

    CREATED = "created"
    INITIALIZED = "initialized"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class HealthStatus(StrEnum):
    """Degraded still serves; unhealthy does not."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Health:
    """How a backend fares.

    Attributes:
        message: one sentence, without credentials.
        details: text pairs such as `keys`, `backend`, `connections`, `last_error`.
    """

    status: HealthStatus
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What became of the operations in flight when a drain began."""

    completed: int = 0
    aborted: int = 0


class Lifecycle(Protocol[SettingsT_contra]):
    """The commands. A constructor does no I/O; everything opens here.

    A driver gets its own settings dataclass, and may count on being commanded in
    order and one at a time: the state machine around it sees to that.
    """

    async def initialize(self, settings: SettingsT_contra) -> None:
        """Check the settings and open the connections.

        Raises:
            InvalidArgument: a setting is wrong.
            BackendUnavailable: the backend cannot be reached; named without its
                credentials, within the driver's own time limit.
        """
        ...

    async def start(self) -> None:
        """Begin serving."""
        ...

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Finish what is in flight, and abort what takes longer than `timeout`.

        A driver has work of its own to finish only when it buffers: calls in
        flight are counted and finished around it.
        """
        ...

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        """Close everything. Safe in every state, and more than once.

        Afterwards every operation raises `NotServing` and none hangs.
        """
        ...

    async def health(self) -> Health:
        """How the backend fares now; raises nothing that the message can say."""
        ...


class LifecycleControl(Lifecycle[Mapping[str, str]], Protocol):
    """The commands as an operator has them: settings are text by name.

    A repeated command succeeds; one from a wrong state is `IllegalTransition`.
    Cancelling the caller does not cancel a command that began.
    """

    async def state(self) -> State:
        """Where in its life the driver is."""
        ...
