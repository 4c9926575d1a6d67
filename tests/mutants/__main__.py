"""Change our own code in one place at a time, and see whether the tests notice.

Prints every mutant, and the score of each area: the part of its mutants that the tests kill.
Mutants that behave like the original do not count.
"""

from __future__ import annotations

import argparse
import pickle
import random
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import typer

from tests.mutants.areas import AREAS, ROOT, Area
from tests.mutants.equivalents import key_of, read_equivalents
from tests.mutants.mutations import Mutant, mutants_of
from tests.mutants.runs import Baseline, BaselineFailed, Judge, Verdict, measure

_BASELINES = ROOT / "build" / "mutants"
_AT_ONCE = 2


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="area", help=f"of {', '.join(AREAS)}")
    parser.add_argument("--sample", type=int, default=10, help="mutants of each area")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    parser.add_argument(
        "--at", action="append", default=[], metavar="FILE:LINE", help="mutants of this line alone"
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="which tests run which lines is known from the last run; new tests all run",
    )
    given = parser.parse_args()
    if unknown := [name for name in given.areas if name not in AREAS]:
        parser.error(f"unknown areas: {', '.join(unknown)}; known are {', '.join(AREAS)}")
    for name in given.areas or AREAS:
        chosen = sample(AREAS[name], given.sample, given.seed)
        if given.at:
            chosen = [each for each in every_mutant(AREAS[name]) if place_of(*each) in given.at]
        try:
            judge_all(name, chosen, last_baseline(name) if given.again else new_baseline(name))
        except BaselineFailed as error:
            typer.echo(f"{name}: the tests do not run:\n{error}", err=True)
            return 1
    return 0


def new_baseline(name: str) -> Baseline:
    """Run the tests of an area on the original code, and keep what they do.

    Raises:
        BaselineFailed: the tests do not run on the original code.
    """
    baseline = measure(AREAS[name])
    _BASELINES.mkdir(parents=True, exist_ok=True)
    _baseline_file(name).write_bytes(pickle.dumps(baseline))
    return baseline


def last_baseline(name: str) -> Baseline:
    """Return what the tests of an area did in the last run.

    Raises:
        BaselineFailed: there was none.
    """
    try:
        baseline: Baseline = pickle.loads(_baseline_file(name).read_bytes())
    except FileNotFoundError:
        raise BaselineFailed("no run was measured yet: leave out '--again'") from None
    return baseline


def judge_all(name: str, chosen: list[tuple[Path, Mutant]], baseline: Baseline) -> None:
    """Judge mutants of an area, and print each verdict and the score."""
    equivalents = read_equivalents()
    for test in baseline.failed:
        typer.echo(f"left out, because it fails without any change: {test}")
    counts: Counter[str] = Counter()
    with Judge(baseline) as judge, ThreadPoolExecutor(_AT_ONCE) as pool:

        def judged(place: tuple[Path, Mutant]) -> tuple[str, str]:
            if reason := equivalents.get(key_of(*place)):
                return "equivalent", reason
            judgement = judge.judge(*place)
            return judgement.verdict.value, judgement.reason

        for (file, mutant), (verdict, reason) in zip(chosen, pool.map(judged, chosen), strict=True):
            counts[verdict] += 1
            change = f"{_short(mutant.before)} → {_short(mutant.after)}"
            typer.echo(
                f"{verdict:10} {place_of(file, mutant)} {mutant.within}: {change} ({reason})"
            )
    killed, effective = counts[Verdict.KILLED.value], len(chosen) - counts["equivalent"]
    typer.echo(
        f"{name}: {killed} of {effective} mutants are killed: {killed / max(effective, 1):.0%}; "
        f"{counts['equivalent']} more are equivalent, {counts[Verdict.UNCLEAR.value]} unclear"
    )


def every_mutant(area: Area) -> list[tuple[Path, Mutant]]:
    """Return all mutants of an area."""
    return [(file, mutant) for file in area.files() for mutant in mutants_of(file.read_text())]


def sample(area: Area, count: int, seed: int) -> list[tuple[Path, Mutant]]:
    """Return this many mutants of an area, the same for the same seed."""
    every = every_mutant(area)
    return random.Random(seed).sample(every, min(count, len(every)))


def place_of(file: Path, mutant: Mutant) -> str:
    """Return where a mutant is: its file and line."""
    return f"{file.relative_to(ROOT)}:{mutant.lines.start}"


def _baseline_file(name: str) -> Path:
    return _BASELINES / f"{name}.pickle"


def _short(source: str) -> str:
    line = " ".join(source.split())
    return line if len(line) <= 80 else f"{line[:80]}…"


if __name__ == "__main__":
    sys.exit(main())
