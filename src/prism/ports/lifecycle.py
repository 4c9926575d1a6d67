"""Lifecycle of a backend: initialize, start, drain, stop, and its health."""

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
    """State of a driver: created → initialized → running → draining → stopped, or failed."""

    CREATED = "created"
    INITIALIZED = "initialized"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


class HealthStatus(StrEnum):
    """Health of a backend: a degraded one still serves, an unhealthy one does not."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


@dataclass(frozen=True, slots=True)
class Health:
    """Health of a backend, with an explanation.

    Attributes:
        status: healthy, degraded or unhealthy.
        message: one sentence, without credentials.
        details: text by name, such as `keys`, `backend`, `connections`, `last_error`.
    """

    status: HealthStatus
    message: str
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DrainReport:
    """Number of the operations in flight at the start of a drain that completed or were aborted."""

    completed: int = 0
    aborted: int = 0


class Lifecycle(Protocol[SettingsT_contra]):
    """Port for the lifecycle of a driver.

    A constructor does no I/O; `initialize` opens everything. Prism calls these methods in
    order and one at a time, so a driver needs no state machine.
    """

    async def initialize(self, settings: SettingsT_contra) -> None:
        """Check the settings and open the connections.

        May be called again after it failed, so it closes what it opened if it fails: a server
        waits for a backend that is not there yet.

        Args:
            settings: instance of the driver's own settings dataclass.

        Raises:
            InvalidArgument: a setting is wrong.
            BackendUnavailable: the backend cannot be reached within the driver's own time
                limit; the message names it without credentials.
        """
        ...

    async def start(self) -> None:
        """Start serving."""
        ...

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Finish the operations in flight; abort those that take longer than `timeout`.

        Prism waits for the calls in flight itself. A driver only has to finish work that it
        has buffered.
        """
        ...

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        """Close everything. Can be called in every state, and more than once.

        Afterwards every operation raises `NotServing` immediately.
        """
        ...

    async def health(self) -> Health:
        """Return the health of the backend. Failures are reported in the result, not raised."""
        ...


class Reloadable(Protocol[SettingsT_contra]):
    """Port of a driver that takes changed secrets without being initialized again.

    Optional. Without it, a changed secret is used when the server is restarted.
    """

    async def reload(self, settings: SettingsT_contra) -> None:
        """Use the secrets in these settings for every connection that is opened from now on.

        Connections that are open stay open. May be called whenever the driver is initialized.

        Args:
            settings: settings in which nothing but secrets differs from those before.

        Raises:
            InvalidArgument: they cannot be used; nothing is changed.
        """
        ...


class LifecycleControl(Lifecycle[Mapping[str, str]], Protocol):
    """Port for the commands of an operator: settings are text by name.

    A command that already took effect succeeds again. A command that the current state does
    not allow raises `IllegalTransition`. Cancelling the caller does not cancel the command.
    """

    async def state(self) -> State:
        """Return the current state."""
        ...
