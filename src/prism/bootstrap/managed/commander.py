"""Registers this process at its proxy, which then commands the driver by LifecycleService."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prism.adapters.control import GONE_AFTER, ControlClient, registration_message
from prism.adapters.observability.logging import DebugEventHandler
from prism.bootstrap.commander import ServerAddresses
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.managed.lifeline import lifeline_at
from prism.bootstrap.settings import ServeSettings
from prism.domain.debug_events import DebugEventBuffer, DebugEventPublisher
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor
from prism.ports import DriverSpec

TokenSource = Callable[[], Awaitable[str]]


def managed_commander(
    address: str,
    configuration: Configuration,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    redactor: Redactor,
) -> ManagedCommander:
    """Return the commander of a pattern.

    Args:
        address: address of the proxy's control socket.
    """
    events = DebugEventBuffer()
    DebugEventPublisher(events, lifecycle, readiness)
    readiness.set_waiting_for(f"the proxy at {address}")
    # A pipe from the proxy tells for certain when the proxy has ended; a silent or unreachable
    # proxy may only stand still.
    gone_after = GONE_AFTER if configuration.settings.proxy_fd is None else None
    return ManagedCommander(
        ControlClient(address, lifecycle, events, gone_after=gone_after),
        configuration.spec,
        _token_source(configuration.settings),
        DebugEventHandler(events, redactor),
    )


def _token_source(settings: ServeSettings) -> TokenSource:
    if settings.proxy_fd is not None:
        return lifeline_at(settings.proxy_fd).token

    async def from_settings() -> str:
        assert settings.proxy_token is not None, "the settings require one of the two"
        return settings.proxy_token

    return from_settings


class ManagedCommander:
    """Lets the proxy command the driver; implements `Commander` by a control stream.

    Args:
        token: returns the one-time token of the launch.
        log_handler: turns log records into debug events, while the stream is kept.
    """

    def __init__(
        self,
        client: ControlClient,
        spec: DriverSpec,
        token: TokenSource,
        log_handler: logging.Handler,
    ) -> None:
        self._client = client
        self._spec = spec
        self._token = token
        self._log_handler = log_handler
        self._running: asyncio.Task[str] | None = None

    async def command(self, addresses: ServerAddresses, end: Callable[[str], None]) -> None:
        logging.getLogger().addHandler(self._log_handler)
        registration = registration_message(self._spec, addresses.grpc[0], addresses.metrics or "")
        token = await self._token()
        self._running = asyncio.create_task(self._client.run(registration, token))
        # Shielded: debug events are sent while the driver is drained and stopped.
        end(await asyncio.shield(self._running))

    async def close(self) -> None:
        if self._running is not None:
            await self._client.leave()
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
        logging.getLogger().removeHandler(self._log_handler)
