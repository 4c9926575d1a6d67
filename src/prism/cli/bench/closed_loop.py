"""Closed-loop load: a fixed number of callers, each of which waits for its reply.

A server that stalls also stalls its load, and the calls that were not sent meanwhile are missing
from the percentiles: good for comparing rates, too optimistic as a promise of latency under a
load that does not wait.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prism.cli.bench.histogram import Histogram
from prism.ports import BackendUnavailable, NotServing, PrismError

Draw = Callable[[], tuple[str, Awaitable[object]]]
"""Starts the next call: returns the name of its operation, and its awaitable."""

_PAUSE_S = 0.05


@dataclass(slots=True)
class Tally:
    """Outcomes of the calls of one operation; latencies in nanoseconds."""

    succeeded: Histogram = field(default_factory=Histogram)
    failed: Counter[tuple[type[PrismError], str]] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Add the counts of another tally."""
        self.succeeded.add(other.succeeded)
        self.failed += other.failed


class ClosedLoop:
    """One run of load.

    Attributes:
        tallies: outcomes by name of the operation.
        seconds: duration of the run; 0 before it.
    """

    def __init__(self, *, callers: int) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.seconds = 0.0
        self._callers = callers
        self._end_ns = 0

    @property
    def total(self) -> Tally:
        """Outcomes of all operations together."""
        total = Tally()
        for tally in self.tallies.values():
            total.add(tally)
        return total

    async def run(self, draw: Draw, seconds: float) -> None:
        """Make calls for a time, then wait for those in flight.

        Cancelling ends the run early and waits in the same way, so that no write is still in
        flight when this raises.
        """
        start_ns = time.perf_counter_ns()
        self._end_ns = start_ns + int(seconds * 1e9)
        callers = [asyncio.create_task(self._call(draw)) for _ in range(self._callers)]
        try:
            await asyncio.wait(callers, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            self._end_ns = 0
            await asyncio.wait(callers)
            self.seconds = (time.perf_counter_ns() - start_ns) / 1e9
        for caller in callers:
            caller.result()

    async def _call(self, draw: Draw) -> None:
        clock = time.perf_counter_ns
        while clock() < self._end_ns:
            name, call = draw()
            begin_ns = clock()
            try:
                await call
            except PrismError as error:
                self.tallies[name].failed[type(error), error.reason] += 1
                if isinstance(error, NotServing | BackendUnavailable):
                    # Such errors come at once; without a pause they would come by the thousand.
                    await asyncio.sleep(_PAUSE_S)
            else:
                self.tallies[name].succeeded.record(clock() - begin_ns)
