"""`python -m benchmarks`: exit status 1 when a row is below its floor, 2 when it cannot run.

A run of everything also writes its tables and charts into the documentation, as
`--draw` does with what an earlier run has left.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.pages import draw
from benchmarks.processes import CannotRun, Cores
from benchmarks.report import fields_of, lines_of, lines_of_series, machine
from benchmarks.rows import ROWS
from benchmarks.run import run
from benchmarks.series import SERIES

FOLDER = Path("build/bench")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for, and tell."""
    options = _options(arguments)
    if options.draw:
        return _drawn(json.loads(options.draw.read_text()))
    rows = [row for row in ROWS if options.only.lower() in row.name.lower()]
    curves = [curve for curve in SERIES if options.only.lower() in curve.name.lower()]
    try:
        if not (rows or curves):
            raise CannotRun(f"nothing has {options.only!r} in its name")
        cores = _cores()
    except CannotRun as error:
        return _refused(str(error))
    done = run(rows, curves, cores, rounds=options.rounds, seconds=options.seconds, tell=_tell)
    _tell("")
    fields = fields_of(
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
    told = [*lines_of(done.results)] if done.results else []
    told += [*lines_of_series(done.series), "", f"written to {target}"]
    sys.stdout.write("\n".join(told) + "\n")
    for failure in done.failures:
        _refused(failure)
    if fields["complete"] and (status := _drawn(fields)):
        return status
    return 2 if done.failures else int(not all(result.passed for result in done.results))


def _drawn(fields: Mapping[str, Any]) -> int:
    """The exit status of writing it into the documentation of this folder."""
    try:
        paths = draw(fields, Path())
    except ValueError as error:
        return _refused(str(error))
    sys.stdout.write(f"drawn: {', '.join(map(str, paths))}\n")
    return 0


def _refused(why: str) -> int:
    sys.stderr.write(f"benchmarks: {why}\n")
    return 2


def _cores() -> Cores:
    """Where to measure; raises CannotRun when there is something in the way."""
    if shutil.which("h2load") is None:
        raise CannotRun("h2load is missing: on Debian `apt install nghttp2-client` brings it")
    return Cores.available()


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of A B each; default 5")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement; default 2")
    parser.add_argument(
        "--only", default="", metavar="TEXT", help="rows and curves with this in their name"
    )
    parser.add_argument("--draw", type=Path, metavar="JSON", help="measure nothing, draw this")
    return parser.parse_args(arguments)


def _tell(doing: str) -> None:
    """On one line of a terminal, and nowhere else."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{doing}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
