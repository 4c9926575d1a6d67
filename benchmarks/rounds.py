"""Measuring: rounds of A B, A B, …, a ratio from each, and what to make of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Generic, TypeVar

from benchmarks.others import Others
from benchmarks.processes import Cores
from benchmarks.rows import Row
from benchmarks.sides import Place

Figure = TypeVar("Figure")

Run = Callable[[Sequence[Callable[[], Figure]]], Sequence[Figure]]

WARM_UP_S = 0.5

QUIET = 0.1
"""Share of the cores that others may have, and the kernel, which works for us as well."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of some figures, and how far apart they are."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Of one figure or more."""
        return cls(median(figures), min(figures), max(figures))


@dataclass(frozen=True, slots=True)
class Result:
    """What a row came to.

    Attributes:
        side: a figure for each round.
        peer: likewise; empty where there is no peer.
        others: share of both cores that other processes had meanwhile, on average.
    """

    row: Row
    side: Sequence[float]
    peer: Sequence[float]
    others: float = 0.0

    @property
    def figure(self) -> Spread:
        """Of the ratios within each round, for what disturbs a round disturbs both sides."""
        if not self.peer:
            return Spread.of(self.side)
        return Spread.of([a / b for a, b in zip(self.side, self.peer, strict=True)])

    @property
    def passed(self) -> bool:
        """Whether the median reaches the floor."""
        return self._reaches(self.row.floor)

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self._reaches(self.row.aim):
            return "aim reached"
        return "ok" if self.passed else "BELOW FLOOR"

    def _reaches(self, bound: float) -> bool:
        figure = self.figure.median
        return figure <= bound if self.row.less_is_better else figure >= bound


@dataclass(frozen=True, slots=True)
class Round(Generic[Figure]):
    """What each measurement gave, and what share of the cores others had meanwhile."""

    figures: Sequence[Figure]
    others: float


def measure(
    row: Row, cores: Cores, *, rounds: int, seconds: float, tell: Callable[[str], None]
) -> Result:
    """Open both sides, verified, then measure them in turn."""
    with ExitStack() as stack:
        place = Place(stack, cores)
        sides = [side.open(place) for side in (row.side, row.peer) if side is not None]
        for side in sides:
            side(WARM_UP_S)
        kept = in_turn(
            [partial(side, seconds) for side in sides],
            place,
            rounds=rounds,
            run=at_once if row.at_once else one_by_one,
            tell=lambda doing: tell(f"{row.name}, {doing}"),
        )
    side_figures, *peer_figures = zip(*(each.figures for each in kept), strict=True)
    return Result(row, side_figures, peer_figures[0] if peer_figures else (), others_of(kept))


def in_turn(
    measurements: Sequence[Callable[[], Figure]],
    place: Place,
    *,
    rounds: int,
    tell: Callable[[str], None],
    run: Run[Figure] | None = None,
) -> list[Round[Figure]]:
    """So many rounds, each of every measurement once.

    Args:
        run: makes a round of them; None: one by one.

    A round that others disturbed is measured again, as long as there are not twice
    as many rounds as asked for; the least disturbed count.
    """
    run = run or one_by_one
    done: list[Round[Figure]] = []
    while sum(each.others <= QUIET for each in done) < rounds and len(done) < 2 * rounds:
        tell(f"round {len(done) + 1}")
        watch = Others(place.cores, place.pids)
        done.append(Round(run(measurements), watch.share()))
    return sorted(done, key=lambda each: each.others)[:rounds]


def one_by_one(measurements: Sequence[Callable[[], Figure]]) -> Sequence[Figure]:
    """A round in which each has the cores to itself."""
    return [measurement() for measurement in measurements]


def at_once(measurements: Sequence[Callable[[], Figure]]) -> Sequence[Figure]:
    """A round in which all share them."""
    with ThreadPoolExecutor(len(measurements)) as pool:
        begun = [pool.submit(measurement) for measurement in measurements]
        return [each.result() for each in begun]


def others_of(rounds: Sequence[Round[Figure]]) -> float:
    """Their share of the cores, on average."""
    return sum(each.others for each in rounds) / len(rounds)
