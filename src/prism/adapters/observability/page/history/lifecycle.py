"""What became of the server: its states, and whether it was ready."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.ports import State

KEPT = 50


class LifecycleEvent(NamedTuple):
    """The driver came into a state, or the readiness changed.

    Attributes:
        at: Unix time.
        what: the state, or the readiness.
        why: may be empty.
    """

    at: float
    what: State | bool
    why: str


class LifecycleEvents:
    """The latest events.

    Args:
        clock: Unix time.
    """

    def __init__(
        self,
        lifecycle: LifecycleMachine,
        readiness: ReadinessMonitor,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._clock = clock
        self._events: deque[LifecycleEvent] = deque(maxlen=KEPT)
        self._state: State | None = None
        self._ready = False
        lifecycle.observe(lambda _: self._look())
        readiness.observe(lambda _: self._look())

    def __iter__(self) -> Iterator[LifecycleEvent]:
        """From the latest on."""
        return reversed(self._events)

    def _look(self) -> None:
        # Whoever told of it: a state comes before the readiness that follows from it.
        state, readiness = self._lifecycle.current, self._readiness.current
        if state is not self._state:
            self._state = state
            self._add(state, self._lifecycle.failure if state is State.FAILED else "")
        if readiness.ready is not self._ready:
            self._ready = readiness.ready
            self._add(readiness.ready, "" if readiness.ready else readiness.reason)

    def _add(self, what: State | bool, why: str) -> None:
        self._events.append(LifecycleEvent(self._clock(), what, why))
