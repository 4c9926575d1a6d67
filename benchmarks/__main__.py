"""`python -m benchmarks`: exit status 1 when a row is below its floor, 2 when it cannot run."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import time
from pathlib import Path

from benchmarks.processes import CannotRun, Cores
from benchmarks.report import fields_of, lines_of, machine
from benchmarks.rounds import Result, measure
from benchmarks.rows import ROWS, Row

FOLDER = Path("build/bench")


def main() -> int:
    """Measure what was asked for, and tell."""
    options = _options()
    rows = [row for row in ROWS if options.only.lower() in row.name.lower()]
    try:
        cores = _cores(rows, options.only)
    except CannotRun as error:
        sys.stderr.write(f"benchmarks: {error}\n")
        return 2
    results: list[Result] = []
    failures: list[str] = []
    for row in rows:
        try:
            results.append(
                measure(row, cores, rounds=options.rounds, seconds=options.seconds, tell=_tell)
            )
        except CannotRun as error:
            failures.append(f"benchmarks: {row.name}: {error}\n")
    _tell("")
    FOLDER.mkdir(parents=True, exist_ok=True)
    target = FOLDER / time.strftime("%Y%m%dT%H%M%S.json")
    fields = fields_of(results, machine=machine(), rounds=options.rounds, seconds=options.seconds)
    target.write_text(json.dumps(fields, indent=1) + "\n")
    sys.stdout.write("\n".join([*lines_of(results), "", f"written to {target}"]) + "\n")
    sys.stderr.writelines(failures)
    return 2 if failures else int(not all(result.passed for result in results))


def _cores(rows: list[Row], only: str) -> Cores:
    """Where to measure; raises CannotRun when there is something in the way."""
    if not rows:
        raise CannotRun(f"no row has {only!r} in its name")
    if shutil.which("h2load") is None:
        raise CannotRun("h2load is missing: on Debian `apt install nghttp2-client` brings it")
    return Cores.available()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="of A B each; default 5")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement; default 2")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows with this in their name")
    return parser.parse_args()


def _tell(doing: str) -> None:
    """On one line of a terminal, and nowhere else."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{doing}")
        sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
