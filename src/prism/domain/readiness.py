"""Whether to send work here: the lifecycle's state, and how the backend fares.

The source for `/ready` and for the gRPC health service alike.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from prism.domain.lifecycle import LifecycleMachine
from prism.ports import HealthStatus, State


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
        self._details: Mapping[str, str] = {}
        self._leaving = ""
        self._observers: list[Callable[[Readiness], None]] = []
        self._told = Readiness(False, "")
        lifecycle.observe(lambda _: self._tell())

    @property
    def current(self) -> Readiness:
        """The readiness now, at no cost."""
        state = self._lifecycle.current
        if self._leaving:
            return Readiness(False, self._leaving)
        if state is not State.RUNNING:
            return Readiness(False, f"the driver is {state}")
        if self._failures >= self._threshold:
            return Readiness(False, self._last_failure)
        return Readiness(True, "ready")

    @property
    def details(self) -> Mapping[str, str]:
        """What the driver told of its backend at the last check; none while it is not up."""
        up = self._lifecycle.current in (State.RUNNING, State.DRAINING)
        return self._details if up else {}

    def observe(self, observer: Callable[[Readiness], None]) -> None:
        """Call the observer at once, and then whenever the readiness changes."""
        self._observers.append(observer)
        observer(self.current)

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
        details: Mapping[str, str] = {}
        try:
            async with asyncio.timeout(self._timeout_s):
                health = await self._lifecycle.health()
        except TimeoutError:
            failure = f"no answer to a health check within {self._timeout_s:g} s"
        except Exception as error:  # a driver's defect must not end the watch
            failure = f"the health check failed: {type(error).__name__}"
        else:
            failure = health.message if health.status is HealthStatus.UNHEALTHY else ""
            details = health.details
        self._details = details
        self._failures = self._failures + 1 if failure else 0
        self._last_failure = failure
        self._tell()

    def _tell(self) -> None:
        now = self.current
        if now != self._told:
            self._told = now
            for observer in self._observers:
                observer(now)
