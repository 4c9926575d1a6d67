"""Readiness: whether the process should receive work, from lifecycle state and backend health.

`/ready` and the gRPC health service report it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from prism.domain.lifecycle import LifecycleMachine
from prism.ports import Health, HealthStatus, State

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether the process is ready, and the reason.

    Attributes:
        reason: one sentence; "ready" when it is.
    """

    ready: bool
    reason: str


class ReadinessMonitor:
    """Checks the health of the backend at intervals, and derives the readiness.

    After the first time that the process is ready, each loss and each return of the readiness
    is logged once.

    Args:
        interval: time between two checks.
        timeout: time after which a check counts as failed.
        threshold: number of consecutive failures after which the process is not ready. More
            than one, so that a short failure of a shared backend does not remove all replicas.
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
        self._withdrawn = ""
        self._blocked = ""
        self._waiting_for = ""
        self._observers: list[Callable[[Readiness], None]] = []
        self._check_observers: list[Callable[[Health], None]] = []
        self._reported = Readiness(False, "")
        self._was_ready = False
        lifecycle.observe(lambda _: self._report())

    @property
    def current(self) -> Readiness:
        """Current readiness, without a check."""
        state = self._lifecycle.current
        if self._withdrawn:
            return Readiness(False, self._withdrawn)
        if self._blocked:
            return Readiness(False, self._blocked)
        if state is not State.RUNNING:
            starting = state in (State.CREATED, State.INITIALIZED)
            waiting = f", waiting for {self._waiting_for}" if starting and self._waiting_for else ""
            return Readiness(False, f"the driver is {state}{waiting}")
        if self._failures >= self._threshold:
            return Readiness(False, self._last_failure)
        return Readiness(True, "ready")

    @property
    def health(self) -> Health | None:
        """Result of the last check; None unless the driver is running or draining."""
        is_open = self._lifecycle.current in (State.RUNNING, State.DRAINING)
        return self._health if is_open else None

    @property
    def details(self) -> Mapping[str, str]:
        """Details of `health`; empty while there is none."""
        return {} if self.health is None else self.health.details

    def observe(self, observer: Callable[[Readiness], None]) -> None:
        """Call the observer now, and then whenever the readiness changes."""
        self._observers.append(observer)
        observer(self.current)

    def observe_checks(self, observer: Callable[[Health], None]) -> None:
        """Call the observer with the result of each check."""
        self._check_observers.append(observer)

    def set_waiting_for(self, what: str) -> None:
        """Name what a driver that is not running yet waits for; it becomes part of the reason."""
        self._waiting_for = what
        self._report()

    def withdraw(self, reason: str) -> None:
        """Report not ready from now on, although calls are still served."""
        self._withdrawn = reason
        self._report()

    def block(self, reason: str) -> None:
        """Report not ready for this reason until `unblock`."""
        self._blocked = reason
        self._report()

    def unblock(self) -> None:
        """Undo `block`."""
        self._blocked = ""
        self._report()

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
        except Exception as error:  # a defect of the driver must not end the checks
            message = f"the health check failed: {type(error).__name__}"
            health = Health(HealthStatus.UNHEALTHY, message)
        failed = health.status is HealthStatus.UNHEALTHY
        self._health = health
        self._failures = self._failures + 1 if failed else 0
        self._last_failure = health.message if failed else ""
        for observer in self._check_observers:
            observer(health)
        self._report()

    def _report(self) -> None:
        now = self.current
        if now != self._reported:
            if self._reported.ready and not now.ready:
                # Withdrawn, drained or blocked on purpose, unless the backend is the reason.
                is_failure = now.reason == self._last_failure
                level = logging.WARNING if is_failure else logging.INFO
                _log.log(level, "not ready: %s", now.reason)
            elif now.ready and self._was_ready:
                _log.info("ready again")
            self._was_ready |= now.ready
            self._reported = now
            for observer in self._observers:
                observer(now)
