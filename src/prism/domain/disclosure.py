"""What changes in a server, as debug events."""

from __future__ import annotations

from prism.domain.debug import DebugBuffer
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.values import DebugKind, DebugLevel
from prism.domain.readiness import Readiness, ReadinessMonitor
from prism.ports import Health, HealthStatus, State

_LEVELS = {
    HealthStatus.HEALTHY: DebugLevel.INFO,
    HealthStatus.DEGRADED: DebugLevel.WARNING,
    HealthStatus.UNHEALTHY: DebugLevel.ERROR,
}


class Disclosure:
    """Adds an event for each change of the lifecycle, the readiness, and the backend."""

    def __init__(
        self, events: DebugBuffer, lifecycle: LifecycleMachine, readiness: ReadinessMonitor
    ) -> None:
        self._events = events
        self._lifecycle = lifecycle
        self._health: Health | None = None
        self._ready = False
        lifecycle.observe(self._entered)
        readiness.observe(self._became)
        readiness.observe_checks(self.checked)

    def checked(self, health: Health) -> None:
        """Tell how the backend fares, if that is new."""
        if health == self._health:
            return
        self._health = health
        details = {**health.details, "status": health.status}
        self._events.add(_LEVELS[health.status], DebugKind.BACKEND, health.message, details)

    def _entered(self, state: State) -> None:
        level, message = DebugLevel.INFO, f"the driver is {state}"
        if state is State.FAILED:
            level, message = DebugLevel.ERROR, f"{message}: {self._lifecycle.failure}"
        self._events.add(level, DebugKind.STATE, message, {"state": state})

    def _became(self, readiness: Readiness) -> None:
        # A reason that changes is the state of the driver, which is told anyway.
        if readiness.ready is self._ready:
            return
        self._ready = readiness.ready
        message = "ready" if readiness.ready else f"not ready: {readiness.reason}"
        details = {"ready": str(readiness.ready).lower()}
        self._events.add(DebugLevel.INFO, DebugKind.STATE, message, details)
