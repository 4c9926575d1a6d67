"""Closed-loop load: callers that wait for each reply, and the histogram of their latencies.

A server that stalls also stalls its load, and the calls that were not sent meanwhile are missing
from the percentiles: good for comparing rates, too optimistic as a promise of latency under a
load that does not wait.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from prism.ports import BackendUnavailable, NotServing, PrismError

Draw = Callable[[], tuple[str, Awaitable[object]]]
"""Starts the next call: returns the name of its operation, and its awaitable."""

_PAUSE_S = 0.05

_BITS = 6
_PER_DOUBLING = 1 << _BITS
# In nanoseconds, some 18 minutes; longer times are counted as that.
_LARGEST_BITS = 40
_BUCKETS = (_LARGEST_BITS - _BITS + 1) * _PER_DOUBLING


class Histogram:
    """Counts whole numbers from 0 up; its percentiles are exact to 1/64.

    Its buckets are those of HdrHistogram: the width is a power of two, and each doubling of the
    value has the same number of buckets. http://hdrhistogram.org/

    Attributes:
        count: number of values.
        max: largest value, exactly; 0 when there is none.
    """

    __slots__ = ("_counts", "count", "max")

    def __init__(self) -> None:
        self.count = 0
        self.max = 0
        self._counts = [0] * _BUCKETS

    def record(self, value: int) -> None:
        """Count a number; a negative one counts as 0."""
        # Comparisons, because max() and min() cost the load generator three times as much.
        if value < 0:
            value = 0
        self.count += 1
        if value > self.max:
            self.max = value
        # Below 128 each number has a bucket of its own.
        shift = value.bit_length() - _BITS - 1
        index = shift * _PER_DOUBLING + (value >> shift) if shift > 0 else value
        self._counts[index if index < _BUCKETS else -1] += 1

    def add(self, other: Histogram) -> None:
        """Add the counts of another histogram."""
        self.count += other.count
        self.max = max(self.max, other.max)
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]

    def percentile(self, percent: float) -> int:
        """Return the value that this percentage does not exceed, rounded up; 0 when empty."""
        rank = max(1, math.ceil(self.count * percent / 100))
        seen = 0
        for index, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                return min(_largest_in(index), self.max)
        return self.max


def _largest_in(bucket: int) -> int:
    shift = max(bucket // _PER_DOUBLING - 1, 0)
    return ((bucket - shift * _PER_DOUBLING + 1) << shift) - 1


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
