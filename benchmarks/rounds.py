"""Rounds of measurements: both sides in turn or at once, a ratio from each round."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Generic, TypeVar

from benchmarks.processes import Cores, ForeignLoad
from benchmarks.rows import Row
from benchmarks.sides import MeasurementContext

Figure = TypeVar("Figure")

RunRound = Callable[[Sequence[Callable[[], Figure]]], Sequence[Figure]]

WARM_UP_S = 0.5

QUIET = 0.1
"""Share of the cores that other processes and the kernel may use in an undisturbed round."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Median and range of some figures."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Return the spread of at least one figure."""
        return cls(median(figures), min(figures), max(figures))


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a row.

    Attributes:
        row: the row.
        side: one figure for each round.
        peer: one figure of the peer for each round; empty without a peer.
        foreign_load: average share of both cores that other processes used.
    """

    row: Row
    side: Sequence[float]
    peer: Sequence[float]
    foreign_load: float = 0.0

    @property
    def figure(self) -> Spread:
        """Spread of the ratios within each round, because a disturbance affects both sides."""
        if not self.peer:
            return Spread.of(self.side)
        return Spread.of([a / b for a, b in zip(self.side, self.peer, strict=True)])

    @property
    def passed(self) -> bool:
        """Whether the median reaches the floor."""
        return self._reaches(self.row.floor)

    @property
    def verdict(self) -> str:
        """Verdict in a word or two."""
        if self._reaches(self.row.aim):
            return "aim reached"
        return "ok" if self.passed else "BELOW FLOOR"

    def _reaches(self, bound: float) -> bool:
        figure = self.figure.median
        return figure <= bound if self.row.less_is_better else figure >= bound


@dataclass(frozen=True, slots=True)
class Round(Generic[Figure]):
    """One round.

    Attributes:
        figures: figure of each measurement.
        foreign_load: share of both cores that other processes used.
    """

    figures: Sequence[Figure]
    foreign_load: float


def measure(
    row: Row, cores: Cores, *, rounds: int, seconds: float, progress: Callable[[str], None]
) -> Result:
    """Open and verify both sides of a row, then measure them.

    Raises:
        CannotRun: a side cannot be measured.
    """
    with ExitStack() as stack:
        context = MeasurementContext(stack, cores)
        sides = [side.open(context) for side in (row.side, row.peer) if side is not None]
        for side in sides:
            side(WARM_UP_S)
        kept = measure_rounds(
            [partial(side, seconds) for side in sides],
            context,
            rounds=rounds,
            run_round=at_once if row.at_once else in_turn,
            progress=lambda step: progress(f"{row.name}, {step}"),
        )
    side_figures, *peer_figures = zip(*(each.figures for each in kept), strict=True)
    peer = peer_figures[0] if peer_figures else ()
    return Result(row, side_figures, peer, average_foreign_load(kept))


def measure_rounds(
    measurements: Sequence[Callable[[], Figure]],
    context: MeasurementContext,
    *,
    rounds: int,
    progress: Callable[[str], None],
    run_round: RunRound[Figure] | None = None,
) -> list[Round[Figure]]:
    """Run the rounds and return the least disturbed ones.

    A round that other processes disturbed is repeated, up to twice as many rounds in total.

    Args:
        measurements: measurements of each round.
        context: processes that do not count as a disturbance.
        rounds: number of rounds to return.
        progress: receives a description of the current step.
        run_round: runs the measurements of a round; None: in turn.
    """
    run_round = run_round or in_turn
    done: list[Round[Figure]] = []
    while sum(each.foreign_load <= QUIET for each in done) < rounds and len(done) < 2 * rounds:
        progress(f"round {len(done) + 1}")
        load = ForeignLoad(context.cores, context.pids)
        done.append(Round(run_round(measurements), load.share()))
    return sorted(done, key=lambda each: each.foreign_load)[:rounds]


def in_turn(measurements: Sequence[Callable[[], Figure]]) -> Sequence[Figure]:
    """Run the measurements one after another."""
    return [measurement() for measurement in measurements]


def at_once(measurements: Sequence[Callable[[], Figure]]) -> Sequence[Figure]:
    """Run the measurements at the same time."""
    with ThreadPoolExecutor(len(measurements)) as pool:
        futures = [pool.submit(measurement) for measurement in measurements]
        return [future.result() for future in futures]


def average_foreign_load(rounds: Sequence[Round[Figure]]) -> float:
    """Return the average share of the cores that other processes used."""
    return sum(each.foreign_load for each in rounds) / len(rounds)
