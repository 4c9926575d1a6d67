"""Debug events that a pattern sends to its proxy: where they come from, and how many are held."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice
from threading import RLock

from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.values import DebugEvent, DebugKind, DebugLevel
from prism.domain.readiness import Readiness, ReadinessMonitor
from prism.domain.token_bucket import TokenBucket
from prism.ports import Health, HealthStatus, State

MAX_TEXT_LENGTH = 500
MAX_DETAILS = 50

_FLOOD_ENDED_AFTER_S = 1.0

_LEVELS = {
    HealthStatus.HEALTHY: DebugLevel.INFO,
    HealthStatus.DEGRADED: DebugLevel.WARNING,
    HealthStatus.UNHEALTHY: DebugLevel.ERROR,
}


class DebugEventPublisher:
    """Adds a debug event for each change of lifecycle state, readiness and backend health."""

    def __init__(
        self, events: DebugEventBuffer, lifecycle: LifecycleMachine, readiness: ReadinessMonitor
    ) -> None:
        self._events = events
        self._lifecycle = lifecycle
        self._health: Health | None = None
        self._ready = False
        lifecycle.observe(self._state_changed)
        readiness.observe(self._readiness_changed)
        lifecycle.observe_health(self.health_checked)
        # Its checks have a shorter timeout.
        readiness.observe_checks(self.health_checked)

    def health_checked(self, health: Health) -> None:
        """Add an event if the health differs from the last one."""
        if health == self._health:
            return
        self._health = health
        details = {**health.details, "status": health.status}
        self._events.add(_LEVELS[health.status], DebugKind.BACKEND, health.message, details)

    def _state_changed(self, state: State) -> None:
        level, message = DebugLevel.INFO, f"the driver is {state}"
        if state is State.FAILED:
            level, message = DebugLevel.ERROR, f"{message}: {self._lifecycle.failure}"
        self._events.add(level, DebugKind.STATE, message, {"state": state})

    def _readiness_changed(self, readiness: Readiness) -> None:
        # A new reason alone comes from a change of state, which has an event of its own.
        if readiness.ready is self._ready:
            return
        self._ready = readiness.ready
        message = "ready" if readiness.ready else f"not ready: {readiness.reason}"
        details = {"ready": str(readiness.ready).lower()}
        self._events.add(DebugLevel.INFO, DebugKind.STATE, message, details)


class DebugEventBuffer:
    """Bounded buffer of debug events, which numbers each event when it is taken.

    Each kind has a rate limit of its own, so that a flood of log lines hides no change
    of state. When the buffer is full, the oldest event is dropped. The next event carries
    the number of events dropped before it; after a flood, a warning carries it.
    `add` may be called from any thread. The events taken last can be taken again.

    Args:
        capacity: maximum number of events waiting.
        rate: maximum number of events of one kind per second.
        burst: maximum number of events of one kind at once.
        replayable: number of taken events that `rewind` brings back.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        *,
        capacity: int = 500,
        rate: float = 20.0,
        burst: int = 100,
        replayable: int = 100,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._capacity = capacity
        self._clock = clock
        self._buckets = {kind: TokenBucket(rate, burst, clock) for kind in DebugKind}
        self._waiting: deque[DebugEvent] = deque()
        self._taken: deque[DebugEvent] = deque(maxlen=replayable)
        self._replay: deque[DebugEvent] = deque()
        self._observers: list[Callable[[], None]] = []
        # Reentrant: a signal handler may log while its own thread holds the lock.
        self._lock = RLock()
        self._sequence = 0
        self._dropped = 0
        self._dropped_at_s = 0.0

    def observe(self, observer: Callable[[], None]) -> Callable[[], None]:
        """Call the observer after each event added, in the thread that added it.

        Returns:
            Function that removes the observer.
        """
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def add(
        self,
        level: DebugLevel,
        kind: DebugKind,
        message: str,
        details: Mapping[str, str] | None = None,
    ) -> None:
        """Add an event with its texts cut to `MAX_TEXT_LENGTH`, or drop it and count it."""
        with self._lock:
            if not self._buckets[kind].take():
                self._drop(1)
                return
            if len(self._waiting) >= self._capacity:
                self._drop_oldest()
            self._waiting.append(_event(level, kind, message, details or {}, self._dropped))
            self._dropped = 0
        for observer in tuple(self._observers):
            observer()

    def take(self) -> DebugEvent | None:
        """Remove and return the oldest event, numbered; None when there is none."""
        with self._lock:
            if self._replay:
                return self._replay.popleft()
            event = self._waiting.popleft() if self._waiting else self._end_of_flood()
            if event is None:
                return None
            self._sequence += 1
            event = replace(event, sequence=self._sequence)
            self._taken.append(event)
            return event

    def rewind(self) -> None:
        """Return the events taken last once more, unchanged: they may have been lost."""
        with self._lock:
            self._replay = self._taken.copy()

    def _end_of_flood(self) -> DebugEvent | None:
        if not self._dropped or self._clock() - self._dropped_at_s < _FLOOD_ENDED_AFTER_S:
            return None
        count, self._dropped = self._dropped, 0
        message = f"{count:,} debug events were dropped because there were too many"
        return _event(DebugLevel.WARNING, DebugKind.LOG, message, {}, count)

    def _drop_oldest(self) -> None:
        lost = 1 + self._waiting.popleft().dropped
        if self._waiting:
            now_oldest = self._waiting[0]
            self._waiting[0] = replace(now_oldest, dropped=now_oldest.dropped + lost)
        else:
            self._drop(lost)

    def _drop(self, count: int) -> None:
        self._dropped += count
        self._dropped_at_s = self._clock()


def _event(
    level: DebugLevel, kind: DebugKind, message: str, details: Mapping[str, str], dropped: int
) -> DebugEvent:
    """Return an event that has no number yet."""
    return DebugEvent(
        sequence=0,
        time=datetime.now(UTC),
        level=level,
        kind=kind,
        message=_cut(message),
        details={_cut(key): _cut(text) for key, text in islice(details.items(), MAX_DETAILS)},
        dropped=dropped,
    )


def _cut(text: str) -> str:
    cut = text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 1] + "…"
    # Log messages may contain lone surrogates, which protobuf refuses.
    return cut.encode("utf-8", "replace").decode()
