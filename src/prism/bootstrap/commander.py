"""Who commands the driver, from the moment that the server listens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from prism.bootstrap.configuration import Configuration
from prism.bootstrap.listening import Listening
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor
from prism.ports import IllegalTransition, LifecycleControl, State


class Commander(Protocol):
    """Commands the driver; used once."""

    async def command(self, listening: Listening, end: Callable[[str], None]) -> None:
        """Have the driver run, and see to whatever else it is commanded.

        Cancelled when the server ends; commands that began go on.

        Args:
            end: has the server end in order, and says why.

        Raises:
            PrismError: the driver does not come to run.
        """
        ...

    async def close(self) -> None:
        """The driver is stopped."""
        ...


class Standalone:
    """This process itself, with the settings it was given."""

    def __init__(self, lifecycle: LifecycleControl, settings: Mapping[str, str]) -> None:
        self._lifecycle = lifecycle
        self._settings = settings

    async def command(self, listening: Listening, end: Callable[[str], None]) -> None:
        try:
            await self._lifecycle.initialize(self._settings)
            await self._lifecycle.start()
        except IllegalTransition:
            # Somebody was quicker, by RPC; if that was a stop, it ends us.
            if await self._lifecycle.state() is not State.STOPPED:
                raise

    async def close(self) -> None:
        """Nothing was opened."""


def commander_of(
    configuration: Configuration,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    redactor: Redactor,
) -> Commander:
    """The proxy, where there is one; else this process itself."""
    address = configuration.settings.proxy_address
    if address is None:
        return Standalone(lifecycle, configuration.driver_settings)
    # Only a pattern talks to a proxy.
    from prism.bootstrap.managed.managed import managed_by

    return managed_by(address, configuration, lifecycle, readiness, redactor)
