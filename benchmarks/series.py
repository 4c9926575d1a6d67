"""What is measured over a range, and becomes a curve."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from benchmarks.keys import CostAgainstKeys
from benchmarks.latency import LatencyAgainstLoad
from benchmarks.processes import Cores
from benchmarks.rows import BARE_GRPC, FULL, MANY

ROUNDS = 3
"""At most: a curve has many points, and none of them is held to a floor."""


class Series(Protocol):
    """A curve or more."""

    @property
    def key(self) -> str:
        """Its name in the JSON."""

    @property
    def name(self) -> str: ...

    def measure(
        self, cores: Cores, *, rounds: int, seconds: float, tell: Callable[[str], None]
    ) -> dict[str, Any]:
        """What the JSON has of it; raises CannotRun."""


SERIES: list[Series] = [
    LatencyAgainstLoad((FULL, BARE_GRPC), MANY, in_flight=[2**power for power in range(9)]),
    CostAgainstKeys(FULL, keys=(1_000, 10_000, 100_000, 1_000_000)),
]
