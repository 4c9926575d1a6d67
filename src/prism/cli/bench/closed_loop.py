"""A closed loop: so many callers, each of which calls again when it is answered.

A server that stalls therefore stalls its load as well, and the calls that nobody
sent meanwhile are missing from the percentiles: good for comparing rates, too kind
as a promise of latency under a load that does not wait.
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
"""The next call: the name of its operation, and what to await."""

_PAUSE_S = 0.05


@dataclass(slots=True)
class Tally:
    """What became of the calls of one operation; latencies in nanoseconds."""

    succeeded: Histogram = field(default_factory=Histogram)
    failed: Counter[tuple[type[PrismError], str]] = field(default_factory=Counter)

    def add(self, other: Tally) -> None:
        """Count everything that the other has counted."""
        self.succeeded.add(other.succeeded)
        self.failed += other.failed


class ClosedLoop:
    """One run of load.

    Attributes:
        tallies: by the name of the operation.
        seconds: that the run took, and 0 before it ran.
    """

    def __init__(self, *, callers: int) -> None:
        self.tallies: defaultdict[str, Tally] = defaultdict(Tally)
        self.seconds = 0.0
        self._callers = callers
        self._end_ns = 0

    @property
    def total(self) -> Tally:
        """Of every operation together."""
        total = Tally()
        for tally in self.tallies.values():
            total.add(tally)
        return total

    async def run(self, draw: Draw, seconds: float) -> None:
        """Call for so long, then see every call through that is in flight.

        Cancelling ends the run early and in the same way, so that no write of it
        is still on its way when this raises.
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
                    # These come at once, and would come as a storm.
                    await asyncio.sleep(_PAUSE_S)
            else:
                self.tallies[name].succeeded.record(clock() - begin_ns)
