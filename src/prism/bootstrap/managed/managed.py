"""The proxy commands the driver."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from prism.adapters.control import ControlClient, registration
from prism.adapters.observability.logging import DebugEventHandler
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.listening import Listening
from prism.bootstrap.managed.lifeline import lifeline_at
from prism.bootstrap.settings import ServeSettings
from prism.domain.debug_events import DebugEventBuffer, DebugEventPublisher
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.redaction import Redactor
from prism.ports import DriverSpec

TokenSource = Callable[[], Awaitable[str]]


def managed_by(
    address: str,
    configuration: Configuration,
    lifecycle: LifecycleMachine,
    readiness: ReadinessMonitor,
    redactor: Redactor,
) -> Managed:
    """Have the proxy at the address command the driver, and tell it what happens here."""
    events = DebugEventBuffer()
    publisher = DebugEventPublisher(events, lifecycle, readiness)
    readiness.set_waiting_for(f"the proxy at {address}")
    client = ControlClient(address, lifecycle, events, publisher.health_checked)
    token = _token_source(configuration.settings)
    return Managed(client, configuration.spec, token, DebugEventHandler(events, redactor))


def _token_source(settings: ServeSettings) -> TokenSource:
    if settings.proxy_fd is not None:
        return lifeline_at(settings.proxy_fd).token

    async def given() -> str:
        assert settings.proxy_token is not None, "the settings see to it"
        return settings.proxy_token

    return given


class Managed:
    """Implements `Commander` by a stream to the proxy.

    Args:
        log: gets all that is logged meanwhile.
    """

    def __init__(
        self, client: ControlClient, spec: DriverSpec, token: TokenSource, log: logging.Handler
    ) -> None:
        self._client = client
        self._spec = spec
        self._token = token
        self._log = log
        self._conversation: asyncio.Task[str] | None = None

    async def command(self, listening: Listening, end: Callable[[str], None]) -> None:
        logging.getLogger().addHandler(self._log)
        metrics_address = listening.metrics_address or ""
        who = registration(self._spec, listening.grpc_addresses[0], metrics_address)
        token = await self._token()
        self._conversation = asyncio.create_task(self._client.run(who, token))
        # It goes on while the driver is drained and stopped.
        end(await asyncio.shield(self._conversation))

    async def close(self) -> None:
        if self._conversation is not None:
            await self._client.leave()
            self._conversation.cancel()
            await asyncio.gather(self._conversation, return_exceptions=True)
        logging.getLogger().removeHandler(self._log)
