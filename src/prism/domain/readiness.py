"""Whether to send work here: the lifecycle's state, and how the backend fares.

The source for `/ready` and for the gRPC health service alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from prism.domain.lifecycle import LifecycleMachine
from prism.ports import Health, HealthStatus, State


@dataclass(frozen=True, slots=True)
class Readiness:
    """Ready, or why not."""

    ready: bool
    reason: str


class ReadinessMonitor:
    """Checks the backend at intervals; several failures in a row mean not ready.

    One blip of a backend that all replicas share must not remove every replica.

    Args:
        interval: between two checks.
        timeout: after which a check has failed.
        threshold: failures in a row.
    """

    def __init__(
        self,
        lifecycle: LifecycleMachine,
        *,
        interval: timedelta = timedelta(seconds=2),
        timeout: timedelta = timedelta(seconds=1),
        threshold: int = 3,
    ) -> None:
        self._lifecycle = lifecycle
        self._interval_s = interval.total_seconds()
        self._timeout_s = timeout.total_seconds()
        self._threshold = threshold
        self._failures = 0
        self._last_failure = ""
        self._health: Health | None = None
        self._leaving = ""
        self._waiting = ""
        self._observers: list[Callable[[Readiness], None]] = []
        self._check_observers: list[Callable[[Health], None]] = []
        self._told = Readiness(False, "")
        lifecycle.observe(lambda _: self._tell())

    @property
    def current(self) -> Readiness:
        """The readiness now, at no cost."""
        state = self._lifecycle.current
        if self._leaving:
            return Readiness(False, self._leaving)
        if state is not State.RUNNING:
            because = self._waiting if state in (State.CREATED, State.INITIALIZED) else ""
            return Readiness(False, f"the driver is {state}{because}")
        if self._failures >= self._threshold:
            return Readiness(False, self._last_failure)
        return Readiness(True, "ready")

    @property
    def health(self) -> Health | None:
        """How the backend fared at the last check; None while the driver is not up."""
        up = self._lifecycle.current in (State.RUNNING, State.DRAINING)
        return self._health if up else None

    @property
    def details(self) -> Mapping[str, str]:
        """What the driver told of its backend then."""
        return {} if self.health is None else self.health.details

    def observe(self, observer: Callable[[Readiness], None]) -> None:
        """Call the observer at once, and then whenever the readiness changes."""
        self._observers.append(observer)
        observer(self.current)

    def observe_checks(self, observer: Callable[[Health], None]) -> None:
        """Call the observer with what each check finds."""
        self._check_observers.append(observer)

    def wait_for(self, what: str) -> None:
        """Say so of a driver that does not run yet."""
        self._waiting = f", waiting for {what}"
        self._tell()

    def leave(self, reason: str) -> None:
        """Not ready from now on, while calls are still served."""
        self._leaving = reason
        self._tell()

    async def watch(self) -> None:
        """Check until cancelled."""
        while True:
            if self._lifecycle.current is State.RUNNING:
                await self._check()
            await asyncio.sleep(self._interval_s)

    async def _check(self) -> None:
        try:
            async with asyncio.timeout(self._timeout_s):
                health = await self._lifecycle.health()
        except TimeoutError:
            message = f"no answer to a health check within {self._timeout_s:g} s"
            health = Health(HealthStatus.UNHEALTHY, message)
        except Exception as error:  # a driver's defect must not end the watch
            message = f"the health check failed: {type(error).__name__}"
            health = Health(HealthStatus.UNHEALTHY, message)
        failed = health.status is HealthStatus.UNHEALTHY
        self._health = health
        self._failures = self._failures + 1 if failed else 0
        self._last_failure = health.message if failed else ""
        for observer in self._check_observers:
            observer(health)
        self._tell()

    def _tell(self) -> None:
        now = self.current
        if now != self._told:
            self._told = now
            for observer in self._observers:
                observer(now)
