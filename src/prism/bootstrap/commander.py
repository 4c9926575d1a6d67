"""Commands the driver's lifecycle, for this process or for the proxy that launched it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.ports import IllegalTransition, PrismError, State

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServerAddresses:
    """Addresses on which a server listens.

    Attributes:
        metrics: HTTP address; None: no HTTP.
    """

    grpc: tuple[str, ...]
    metrics: str | None


class Commander(Protocol):
    """Brings up the driver once the server listens; used once."""

    async def command(self, addresses: ServerAddresses, end: Callable[[str], None]) -> None:
        """Have the driver initialized and started.

        Cancelled when the server ends; lifecycle commands that began go on.

        Args:
            end: ends the server in order; takes the reason.

        Raises:
            PrismError: the driver could not be brought up.
        """
        ...

    async def close(self) -> None:
        """Close what `command` opened; called when the driver is stopped."""
        ...


class StandaloneCommander:
    """Initializes and starts the driver with the settings of this process.

    Args:
        start_timeout: time to wait for a backend that is not there.
        readiness: reports what the driver waits for; None: nothing is reported.
    """

    def __init__(
        self,
        lifecycle: LifecycleMachine,
        settings: Mapping[str, str],
        start_timeout: timedelta = timedelta(),
        readiness: ReadinessMonitor | None = None,
    ) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._start_timeout = start_timeout
        self._readiness = readiness
        self._reported = ""

    async def command(self, addresses: ServerAddresses, end: Callable[[str], None]) -> None:
        try:
            await self._lifecycle.initialize_when_available(
                self._settings, self._start_timeout, self._report
            )
            await self._lifecycle.start()
        except IllegalTransition:
            # A lifecycle call came first; if it was a stop, the server ends anyway.
            if await self._lifecycle.state() is not State.STOPPED:
                raise

    async def close(self) -> None:
        """Do nothing: nothing was opened."""

    def _report(self, error: PrismError) -> None:
        if error.message == self._reported:
            return
        self._reported = error.message
        log.warning(
            "waiting for the backend, at most %g s from the start: %s",
            self._start_timeout.total_seconds(),
            error.message,
        )
        if self._readiness is not None:
            self._readiness.set_waiting_for(f"the backend: {error.message}")
