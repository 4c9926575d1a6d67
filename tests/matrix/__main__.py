"""Runs the matrix: `python -m tests.matrix [--short] [--only NAME] [--list]`.

Each cell runs in an environment of its own under `build/matrix`, which is kept. The results are in
`tests/matrix/results.json`, and become the tables of docs/compatibility.md; those of the short form
are in `build/matrix/short.json` alone.
A cell that cannot run on this machine is reported as such. The exit status is 1 if a test failed,
and with --short if a cell could not run.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from tests.matrix import refusals
from tests.matrix.cells import Cell, all_cells, is_chosen, short_cells
from tests.matrix.downloads import ROOT
from tests.matrix.results import RESULTS, CellResult, Results
from tests.matrix.running import run_cell
from tests.matrix.tables import DOCUMENT, write_tables


def main() -> int:
    """Run the cells and return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.matrix", description=__doc__)
    parser.add_argument("--short", action="store_true", help="oldest and newest, quick tests")
    parser.add_argument("--only", default="", metavar="NAME", help="cells with this in their name")
    parser.add_argument("--list", action="store_true", help="list the cells and end")
    options = parser.parse_args()
    chosen = [
        cell
        for cell in (short_cells() if options.short else all_cells())
        if is_chosen(cell.name, options.only)
    ]
    if options.list:
        _say("\n".join(cell.name for cell in chosen))
        return 0
    results = Results.read(ROOT / "short.json" if options.short else RESULTS)
    failed = not chosen
    for cell in chosen:
        result = _run(cell)
        results.cells[cell.name] = result
        results.write()
        failed = failed or not result.is_good
    for name, sentence in refusals.check(options.only):
        _say(f"{name}: {sentence}")
        results.refusals[name] = sentence
        results.write()
        failed = failed or not refusals.is_refusal(sentence)
    if not options.short:
        write_tables(results)
        _say(f"the tables are in {DOCUMENT}")
    return int(failed)


def _run(cell: Cell) -> CellResult:
    _say(f"{datetime.now(UTC):%H:%M:%S} {cell.name} …")
    result = run_cell(cell)
    _say(f"{datetime.now(UTC):%H:%M:%S} {cell.name}: {result.summary}")
    return result


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
