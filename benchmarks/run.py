"""Measuring row by row and curve by curve; what cannot run does not stop the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.processes import CannotRun, Cores
from benchmarks.rounds import Result, measure
from benchmarks.rows import Row
from benchmarks.series import ROUNDS, Series


@dataclass(frozen=True, slots=True)
class Run:
    """What came of it.

    Attributes:
        series: what each curve has for the JSON, by its name there.
        failures: a sentence for each that could not run.
    """

    results: list[Result] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def run(
    rows: Sequence[Row],
    curves: Sequence[Series],
    cores: Cores,
    *,
    rounds: int,
    seconds: float,
    tell: Callable[[str], None],
) -> Run:
    """Measure all of them."""
    done = Run()
    for row in rows:
        try:
            done.results.append(measure(row, cores, rounds=rounds, seconds=seconds, tell=tell))
        except CannotRun as error:
            done.failures.append(f"{row.name}: {error}")
    for curve in curves:
        try:
            done.series[curve.key] = curve.measure(
                cores, rounds=min(rounds, ROUNDS), seconds=seconds, tell=tell
            )
        except CannotRun as error:
            done.failures.append(f"{curve.name}: {error}")
    return done
