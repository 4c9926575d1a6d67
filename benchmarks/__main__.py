"""`python -m benchmarks`: exit status 1 when a row is below its floor, 2 when one cannot run.

A complete run also writes its tables and charts into the documentation; `--draw` does that
with the JSON file of an earlier run. A run is complete without a row whose program is optional.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import CannotRun, Cores, NotInstalled
from benchmarks.report import (
    as_json,
    machine,
    result_lines,
    series_lines,
    write_documentation,
)
from benchmarks.rounds import Result, measure
from benchmarks.rows import ROWS, Row
from benchmarks.series import MAX_ROUNDS, SERIES, Series

FOLDER = Path("build/bench")


@dataclass(frozen=True, slots=True)
class Run:
    """Outcome of a run.

    Attributes:
        results: results of the rows.
        series: JSON of each curve, by its name there.
        failures: one sentence for each row or curve that could not be measured.
        left_out: one sentence for each row whose optional program is missing.
    """

    results: list[Result] = field(default_factory=list)
    series: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, report, and return the exit status."""
    options = _options(arguments)
    if options.draw:
        return _write_documentation(json.loads(options.draw.read_text()))
    rows = [row for row in ROWS if options.only.lower() in row.name.lower()]
    curves = [curve for curve in SERIES if options.only.lower() in curve.name.lower()]
    try:
        if not (rows or curves):
            raise CannotRun(f"no row and no curve has {options.only!r} in its name")
        cores = _cores()
    except CannotRun as error:
        return _fail(str(error))
    done = run(
        rows, curves, cores, rounds=options.rounds, seconds=options.seconds, progress=_progress
    )
    _progress("")
    fields = as_json(
        done.results,
        day=time.strftime("%Y-%m-%d"),
        complete=not (options.only or done.failures),
        machine=machine(),
        rounds=options.rounds,
        seconds=options.seconds,
        series=done.series,
    )
    FOLDER.mkdir(parents=True, exist_ok=True)
    target = FOLDER / time.strftime("%Y%m%dT%H%M%S.json")
    target.write_text(json.dumps(fields, indent=1) + "\n")
    lines = result_lines(done.results) if done.results else []
    lines += [*series_lines(done.series), "", f"written to {target}"]
    sys.stdout.write("\n".join(lines) + "\n")
    for sentence in (*done.left_out, *done.failures):
        _fail(sentence)
    if fields["complete"] and (status := _write_documentation(fields)):
        return status
    if done.failures or not (done.results or done.series):
        return 2
    return int(not all(result.passed for result in done.results))


def run(
    rows: Sequence[Row],
    curves: Sequence[Series],
    cores: Cores,
    *,
    rounds: int,
    seconds: float,
    progress: Callable[[str], None],
) -> Run:
    """Measure the rows and curves; one that cannot run does not stop the others."""
    done = Run()
    for row in rows:
        try:
            result = measure(row, cores, rounds=rounds, seconds=seconds, progress=progress)
        except NotInstalled as error:
            done.left_out.append(f"{row.name} is left out: {error}")
        except CannotRun as error:
            done.failures.append(f"{row.name}: {error}")
        else:
            done.results.append(result)
    for curve in curves:
        try:
            done.series[curve.key] = curve.measure(
                cores, rounds=min(rounds, MAX_ROUNDS), seconds=seconds, progress=progress
            )
        except CannotRun as error:
            done.failures.append(f"{curve.name}: {error}")
    return done


def _write_documentation(fields: Mapping[str, Any]) -> int:
    """Write the run into the documentation of this folder, and return the exit status."""
    try:
        paths = write_documentation(fields, Path())
    except ValueError as error:
        return _fail(str(error))
    sys.stdout.write(f"updated: {', '.join(map(str, paths))}\n")
    return 0


def _fail(why: str) -> int:
    sys.stderr.write(f"benchmarks: {why}\n")
    return 2


def _cores() -> Cores:
    """Return the cores to measure on; raise CannotRun where measuring is impossible."""
    if shutil.which("h2load") is None:
        raise CannotRun("h2load is missing: on Debian, install it by `apt install nghttp2-client`")
    return Cores.available()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds to count; default 5")
    parser.add_argument(
        "--seconds", type=float, default=2.0, help="seconds of each measurement; default 2"
    )
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="measure rows and curves with this in the name"
    )
    parser.add_argument(
        "--draw", type=Path, metavar="JSON", help="measure nothing, write this complete run"
    )
    return parser.parse_args(arguments)


def _progress(step: str) -> None:
    """Show the step on one line, if stderr is a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{step}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
