"""Run the acceptance suite on broken backends: each must be caught by the test named for it.

    fault                    test named for it                caught  others that pass

Exits with 1 when a fault is not caught by its test, or when too many other tests fail
of it: then it is no single defect, or the suite repeats itself.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ProcessPoolExecutor

import typer

from tests.selftest.faults import FAULTS, Fault
from tests.selftest.verdict import judge

# The tests wait more than they compute.
WORKERS = 3 * (os.cpu_count() or 1)


def main() -> int:
    by_name = {fault.__name__: fault for fault in FAULTS}
    parser = argparse.ArgumentParser(prog="make suite-selftest", description=__doc__)
    parser.add_argument("faults", nargs="*", metavar="fault", help="one to judge; else all are")
    names = parser.parse_args().faults
    if unknown := [name for name in names if name not in by_name]:
        parser.error(f"no such faults: {', '.join(unknown)}; there are {', '.join(by_name)}")
    return judge_all([by_name[name] for name in names] or list(FAULTS))


def judge_all(faults: list[type[Fault]]) -> int:
    """Judge faults side by side, and print each verdict."""
    typer.echo(f"{'fault':32} {'test named for it':68} caught  others that pass")
    good = 0
    with ProcessPoolExecutor(WORKERS) as pool:
        for verdict in pool.map(judge, faults):
            typer.echo(verdict.line())
            good += verdict.is_good
    typer.echo(f"{good} of {len(faults)} faults are told apart")
    return 0 if good == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main())
