"""Counts of what goes through, in plain integers: written often, and read when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields

NS_PER_SECOND = 1_000_000_000

# The bounds that OpenTelemetry recommends for durations of operations and of calls.
# https://opentelemetry.io/docs/specs/semconv/database/database-metrics/
OPERATION_BOUNDS_S = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10)
# https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/
CALL_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)


class Durations:
    """A histogram of durations.

    Attributes:
        bounds_s: the upper bounds, inclusive, of every bucket but the last.
        counts: durations in each bucket.
        total_ns: all of them together.
    """

    __slots__ = ("_bounds_ns", "_first_ns", "bounds_s", "counts", "total_ns")

    def __init__(self, bounds_s: Sequence[float]) -> None:
        self.bounds_s = bounds_s
        self._bounds_ns = tuple(round(bound * NS_PER_SECOND) for bound in bounds_s)
        self._first_ns = self._bounds_ns[0]
        self.counts = [0] * (len(bounds_s) + 1)
        self.total_ns = 0

    def add(self, elapsed_ns: int) -> None:
        """Count one more."""
        # Most end within the first bound, and a comparison costs half of a search.
        bucket = 0 if elapsed_ns <= self._first_ns else bisect_left(self._bounds_ns, elapsed_ns)
        self.counts[bucket] += 1
        self.total_ns += elapsed_ns


class OperationTally(Durations):
    """How the operations of one kind fared that were let in.

    Attributes:
        failed: by what was raised, being cancelled included.
        items: of batches.
    """

    __slots__ = ("failed", "items")

    def __init__(self) -> None:
        super().__init__(OPERATION_BOUNDS_S)
        self.failed: Counter[type[BaseException]] = Counter()
        self.items = 0


@dataclass(frozen=True, slots=True)
class OperationTallies:
    """One for each method of the ports, under its name."""

    get: OperationTally = field(default_factory=OperationTally)
    set: OperationTally = field(default_factory=OperationTally)
    delete: OperationTally = field(default_factory=OperationTally)
    exists: OperationTally = field(default_factory=OperationTally)
    expire: OperationTally = field(default_factory=OperationTally)
    ttl: OperationTally = field(default_factory=OperationTally)
    persist: OperationTally = field(default_factory=OperationTally)
    compare_and_set: OperationTally = field(default_factory=OperationTally)
    compare_and_delete: OperationTally = field(default_factory=OperationTally)
    get_many: OperationTally = field(default_factory=OperationTally)
    set_many: OperationTally = field(default_factory=OperationTally)
    delete_many: OperationTally = field(default_factory=OperationTally)
    scan: OperationTally = field(default_factory=OperationTally)
    increment: OperationTally = field(default_factory=OperationTally)

    def __iter__(self) -> Iterator[tuple[str, OperationTally]]:
        """Names and tallies."""
        return ((each.name, getattr(self, each.name)) for each in fields(self))
