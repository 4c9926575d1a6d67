"""Recent history of a server for its page, bounded in size: operations, failures, events."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.tallies import OperationTally
from prism.ports import State

SAMPLE_INTERVAL_S = 2.0
MAX_SAMPLES = 60
MAX_EVENTS = 50
MAX_FAILURES = 20
MAX_FAILURES_PER_CODE = 5
"""Per method and code: messages may quote callers, and must not displace other failures."""


class History:
    """Everything that is kept of one server, from its construction on."""

    __slots__ = ("_started_s", "events", "failures", "operations")

    def __init__(
        self, operations: OperationSamples, failures: RecentFailures, events: LifecycleEvents
    ) -> None:
        self.operations = operations
        self.failures = failures
        self.events = events
        self._started_s = time.monotonic()

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._started_s


class Counts(NamedTuple):
    """Counts of one operation, since the start or within a period.

    Attributes:
        ended: number of operations per bucket of their duration.
        failed: number of those that failed.
    """

    ended: tuple[int, ...]
    failed: int

    @property
    def total(self) -> int:
        return sum(self.ended)

    def since(self, earlier: Counts) -> Counts:
        """Return the counts of the time after `earlier`."""
        ended = (now - then for now, then in zip(self.ended, earlier.ended, strict=True))
        return Counts(tuple(ended), self.failed - earlier.failed)


class Sample(NamedTuple):
    """Counts of all operations at one moment.

    Attributes:
        at_s: monotonic time.
        counts: counts by operation.
    """

    at_s: float
    counts: Mapping[str, Counts]

    @property
    def total(self) -> int:
        return sum(each.total for each in self.counts.values())


class OperationSamples:
    """Samples of the operation counts, at regular intervals.

    Args:
        tallies: live tallies by operation; the names never change.
        clock: monotonic time in seconds.
    """

    def __init__(
        self,
        tallies: Iterable[tuple[str, OperationTally]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tallies = tallies
        self._clock = clock
        self._samples = deque([self.now()], maxlen=MAX_SAMPLES + 1)

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples, oldest first."""
        return iter(self._samples)

    def now(self) -> Sample:
        """Return a sample of this moment without keeping it."""
        counts = {
            name: Counts(tuple(tally.durations.counts), tally.failed.total())
            for name, tally in self._tallies
        }
        return Sample(self._clock(), counts)

    def take(self) -> None:
        """Keep a sample of this moment."""
        self._samples.append(self.now())

    async def keep_taking(self) -> None:
        """Keep a sample every `SAMPLE_INTERVAL_S` until cancelled."""
        while True:
            await asyncio.sleep(SAMPLE_INTERVAL_S)
            self.take()


class Failure(NamedTuple):
    """Requests that failed with the same method, code and message.

    Attributes:
        path: path of the method.
        code: gRPC status code.
        message: message of the status.
        times: number of such requests.
        last: Unix time of the last one.
    """

    path: str
    code: int
    message: str
    times: int
    last: float


class RecentFailures:
    """The most recent kinds of failure, each counted.

    Args:
        clock: Unix time.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        # By kind: a backend that is away is one entry and displaces no other.
        self._failures: dict[tuple[str, int, str], Failure] = {}

    def __iter__(self) -> Iterator[Failure]:
        """Yield the failures, latest first."""
        return reversed(self._failures.values())

    def failed(self, path: str, code: int, message: str) -> None:
        """Record a request that was answered with this status."""
        kind = (path, code, message)
        known = self._failures.pop(kind, None)
        if known is None:
            self._make_room(path, code)
        times = 1 if known is None else known.times + 1
        self._failures[kind] = Failure(*kind, times, self._clock())

    def _make_room(self, path: str, code: int) -> None:
        alike = [kind for kind in self._failures if kind[:2] == (path, code)]
        if len(alike) == MAX_FAILURES_PER_CODE:
            del self._failures[alike[0]]
        elif len(self._failures) == MAX_FAILURES:
            del self._failures[next(iter(self._failures))]


class LifecycleEvent(NamedTuple):
    """A change of the driver's state, or of readiness.

    Attributes:
        at: Unix time.
        change: the new state, or whether the server is ready now.
        reason: reason for the change; may be empty.
    """

    at: float
    change: State | bool
    reason: str


class LifecycleEvents:
    """The most recent changes of state and readiness.

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
        self._events: deque[LifecycleEvent] = deque(maxlen=MAX_EVENTS)
        self._state: State | None = None
        self._ready = False
        lifecycle.observe(lambda _: self._record_changes())
        readiness.observe(lambda _: self._record_changes())

    def __iter__(self) -> Iterator[LifecycleEvent]:
        """Yield the events, latest first."""
        return reversed(self._events)

    def _record_changes(self) -> None:
        # Whichever observer is called first: a state comes before the readiness that follows.
        state, readiness = self._lifecycle.current, self._readiness.current
        if state is not self._state:
            self._state = state
            self._add(state, self._lifecycle.failure if state is State.FAILED else "")
        if readiness.ready is not self._ready:
            self._ready = readiness.ready
            self._add(readiness.ready, "" if readiness.ready else readiness.reason)

    def _add(self, change: State | bool, reason: str) -> None:
        self._events.append(LifecycleEvent(self._clock(), change, reason))
