"""Histogram of latencies with a fixed size.

Its buckets are those of HdrHistogram: the width is a power of two, and each doubling of the value
has the same number of buckets. http://hdrhistogram.org/
"""

from __future__ import annotations

import math

_BITS = 6
_PER_DOUBLING = 1 << _BITS
# In nanoseconds, some 18 minutes; longer times are counted as that.
_LARGEST_BITS = 40
_BUCKETS = (_LARGEST_BITS - _BITS + 1) * _PER_DOUBLING


class Histogram:
    """Counts whole numbers from 0 up; its percentiles are exact to 1/64.

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
