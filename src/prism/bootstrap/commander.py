"""Who commands the driver's lifecycle: this process itself, or the proxy that launched it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from prism.bootstrap.configuration import Configuration
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor
from prism.ports import IllegalTransition, LifecycleControl, State


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
    """Initializes and starts the driver with the settings of this process."""

    def __init__(self, lifecycle: LifecycleControl, settings: Mapping[str, str]) -> None:
        self._lifecycle = lifecycle
        self._settings = settings

    async def command(self, addresses: ServerAddresses, end: Callable[[str], None]) -> None:
        try:
            await self._lifecycle.initialize(self._settings)
            await self._lifecycle.start()
        except IllegalTransition:
            # A lifecycle call came first; if it was a stop, the server ends anyway.
            if await self._lifecycle.state() is not State.STOPPED:
                raise

    async def close(self) -> None:
        """Do nothing: nothing was opened."""


def commander_of(
    configuration: Configuration,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    redactor: Redactor,
) -> Commander:
    """Return the commander for the configuration: managed if it has a proxy's address."""
    address = configuration.settings.proxy_address
    if address is None:
        return StandaloneCommander(lifecycle, configuration.driver_settings)
    # Only patterns pay for this import.
    from prism.bootstrap.managed.commander import managed_commander

    return managed_commander(address, configuration, lifecycle, readiness, redactor)
