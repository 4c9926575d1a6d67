"""Run the acceptance suite on broken backends: each must fail the test named for its fault.

    fault                    test named for it                caught  others that pass

Exits with 1 when a fault is not caught by its test, or when too many other tests fail: then
the fault is more than one defect, or the suite repeats itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor

import typer

from tests.selftest.faults import FAULTS, Fault
from tests.selftest.verdict import judge

# More than cores, because the tests mostly wait.
WORKERS = 3 * (os.cpu_count() or 1)

_REPETITIONS = 4
"""Some faults show only if a server crashes while the reply to a call is on its way."""


def main() -> int:
    by_name = {fault.__name__: fault for fault in FAULTS}
    parser = argparse.ArgumentParser(prog="make suite-selftest", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="fault", help="fault to judge; default: all")
    names = parser.parse_args().faults
    if unknown := [name for name in names if name not in by_name]:
        parser.error(f"unknown faults: {', '.join(unknown)}; known are {', '.join(by_name)}")
    return judge_all([by_name[name] for name in names] or list(FAULTS))


def judge_all(faults: list[type[Fault]]) -> int:
    """Judge the faults in parallel, print each verdict, and return the exit status."""
    typer.echo(f"{'fault':32} {'test named for it':68} caught  others that pass")
    missed = _judge(faults, WORKERS)
    for _ in range(_REPETITIONS):
        if missed:
            typer.echo("Those that are not identified are judged again, one at a time:")
            missed = _judge(missed, 1)
    typer.echo(f"{len(faults) - len(missed)} of {len(faults)} faults are identified")
    return 1 if missed else 0


def _judge(faults: list[type[Fault]], workers: int) -> list[type[Fault]]:
    """Judge faults, print each verdict, and return those that are not identified."""
    missed = []
    with ProcessPoolExecutor(workers) as pool:
        for fault, verdict in zip(faults, pool.map(judge, faults), strict=True):
            typer.echo(verdict.line())
            if not verdict.is_identified:
                missed.append(fault)
    return missed


if __name__ == "__main__":
    sys.exit(main())
