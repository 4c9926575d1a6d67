"""Samples of the counts of operations: what was counted between two of them."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from prism.domain.tallies import OperationTally

EVERY_S = 2.0
KEPT = 60


class Counts(NamedTuple):
    """Of one operation, since the start or within a time.

    Attributes:
        ended: how many, by bucket of their duration.
        failed: how many of them.
    """

    ended: tuple[int, ...]
    failed: int

    @property
    def total(self) -> int:
        return sum(self.ended)

    def since(self, earlier: Counts) -> Counts:
        """What came after it."""
        ended = (now - then for now, then in zip(self.ended, earlier.ended, strict=True))
        return Counts(tuple(ended), self.failed - earlier.failed)


class Sample(NamedTuple):
    """What was counted up to a moment.

    Attributes:
        at_s: by a clock that never goes back.
        counts: by operation.
    """

    at_s: float
    counts: Mapping[str, Counts]

    @property
    def total(self) -> int:
        return sum(each.total for each in self.counts.values())


class OperationSamples:
    """The latest samples.

    Args:
        tallies: by name; the names stay the same.
        clock: seconds, never going back.
    """

    def __init__(
        self,
        tallies: Iterable[tuple[str, OperationTally]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tallies = tallies
        self._clock = clock
        self._samples = deque([self.now()], maxlen=KEPT + 1)

    def __iter__(self) -> Iterator[Sample]:
        """Up to the latest."""
        return iter(self._samples)

    def now(self) -> Sample:
        """One that is not kept."""
        counts = {
            name: Counts(tuple(tally.counts), tally.failed.total()) for name, tally in self._tallies
        }
        return Sample(self._clock(), counts)

    def take(self) -> None:
        """Keep one of now."""
        self._samples.append(self.now())

    async def keep_taking(self) -> None:
        """Take one every two seconds, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.take()
