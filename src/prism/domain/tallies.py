"""Counts and durations of operations, in plain integers: updated often, read rarely."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prism.ports import OPERATIONS

NS_PER_SECOND = 1_000_000_000

# Bounds that OpenTelemetry recommends for database operations and for RPCs.
# https://opentelemetry.io/docs/specs/semconv/database/database-metrics/
OPERATION_BOUNDS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
# https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/
CALL_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class Durations:
    """Histogram of durations.

    Attributes:
        bounds_s: inclusive upper bounds of all buckets but the last, in seconds.
        counts: number of durations in each bucket.
        total_ns: sum of all durations.
    """

    __slots__ = ("_bounds_ns", "_first_ns", "bounds_s", "counts", "total_ns")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s = bounds_s
        self._bounds_ns = tuple(round(bound * NS_PER_SECOND) for bound in bounds_s)
        self._first_ns = self._bounds_ns[0]
        self.counts = [0] * (len(bounds_s) + 1)
        self.total_ns = 0

    def add(self, elapsed_ns: int) -> None:
        """Count one duration."""
        # Most durations are in the first bucket, and one comparison costs half of a search.
        bucket = 0 if elapsed_ns <= self._first_ns else bisect_left(self._bounds_ns, elapsed_ns)
        self.counts[bucket] += 1
        self.total_ns += elapsed_ns


@dataclass(slots=True)
class CallTally:
    """Counts of the calls of one method, in plain integers.

    Attributes:
        started: calls that arrived.
        ended: calls that were answered, failed or were cancelled.
        failed: calls that failed or were cancelled, by status code.
    """

    started: int = 0
    ended: int = 0
    failed: Counter[int] = field(default_factory=Counter)


class OperationTally:
    """Durations and failures of one kind of operation; refused operations are not counted.

    Attributes:
        durations: durations of those that have ended.
        failed: number of failures by the type of exception, cancellation included.
        items: number of items in all batches.
    """

    __slots__ = ("durations", "failed", "items")

    def __init__(self) -> None:
        self.durations = Durations(OPERATION_BOUNDS_S)
        self.failed: Counter[type[BaseException]] = Counter()
        self.items = 0


OperationTallies = Mapping[str, OperationTally]
"""A tally for each operation, by its name."""


def operation_tallies() -> OperationTallies:
    """Return an empty tally for each operation that returns one reply: all but watches."""
    return {name: OperationTally() for name, spec in OPERATIONS.items() if not spec.streams}
