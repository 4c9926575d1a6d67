"""Change our own code in one place at a time, and see whether the tests notice.

Prints every mutant that survives, and the score: the part that the tests kill.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import typer

from tests.mutants.mutations import Mutant, mutants_of

ROOT = Path(__file__).parents[2]

_TARGETS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "memstore": (
        ("src/prism/adapters/memstore/*.py",),
        ("tests/unit/memstore", "tests/contract/test_memstore.py::TestInProcess"),
    ),
    "sqlite": (
        ("src/prism/adapters/sqlite/*.py",),
        (
            "tests/unit/sqlite",
            "tests/contract/test_sqlite.py::TestInProcess",
            "tests/integration/sqlite",
        ),
    ),
    "redis": (
        ("src/prism/adapters/redis/*.py",),
        (
            "tests/unit/redis",
            "tests/contract/test_redis.py::TestInProcess",
            "tests/integration/redis",
            "tests/contract/test_redis_cluster.py",
        ),
    ),
    "nats": (
        ("src/prism/adapters/nats/*.py",),
        (
            "tests/unit/nats",
            "tests/contract/test_nats.py::TestInProcess",
            "tests/integration/nats",
        ),
    ),
    "gateway": (
        ("src/prism/domain/gateway.py", "src/prism/domain/batches.py", "src/prism/domain/scans.py"),
        ("tests/unit/domain", "tests/contract/test_memstore.py::TestInProcess"),
    ),
    "servicers": (
        (
            "src/prism/adapters/grpc/servicers/key_value.py",
            "src/prism/adapters/grpc/servicers/operate/*.py",
            "src/prism/adapters/wire/keyvalue_messages.py",
        ),
        ("tests/unit/wire", "tests/unit/grpc", "tests/contract/test_memstore.py::TestOverGrpc"),
    ),
    "client": (
        ("src/prism/adapters/client/*.py",),
        (
            "tests/unit/remote",
            "tests/contract/test_memstore.py::TestOverGrpc",
            "tests/integration/remote",
        ),
    ),
}
"""What is mutated, and the tests that must notice, the quickest first."""

_LIMIT_SECONDS = 400
# A hanging mutant is killed too, but would cost this much time for each test.
_TEST_SECONDS = 60


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="target", help=f"of {', '.join(_TARGETS)}")
    parser.add_argument("--sample", type=int, default=10, help="mutants for each target")
    parser.add_argument("--seed", type=int, default=1, help="chooses the sample")
    given = parser.parse_args()
    if unknown := [name for name in given.targets if name not in _TARGETS]:
        parser.error(f"unknown targets: {', '.join(unknown)}; known are {', '.join(_TARGETS)}")
    killed = judged = 0
    for name in given.targets or _TARGETS:
        for path, mutant in sample(name, given.sample, given.seed):
            is_killed = is_noticed(path, mutant, _TARGETS[name][1])
            judged += 1
            killed += is_killed
            verdict = "killed  " if is_killed else "SURVIVED"
            place = f"{path.relative_to(ROOT)}:{mutant.line}"
            typer.echo(f"{verdict} {place}: {_short(mutant.before)} → {_short(mutant.after)}")
    typer.echo(f"{killed} of {judged} mutants are killed: {killed / max(judged, 1):.0%}")
    return 0


def sample(target: str, count: int, seed: int) -> list[tuple[Path, Mutant]]:
    """Return this many mutants of a target, the same for the same seed."""
    every = [
        (path, mutant)
        for pattern in _TARGETS[target][0]
        for path in sorted(ROOT.glob(pattern))
        for mutant in mutants_of(path.read_text())
    ]
    return random.Random(seed).sample(every, min(count, len(every)))


def is_noticed(path: Path, mutant: Mutant, tests: tuple[str, ...]) -> bool:
    """Return whether a test fails, or hangs, with the mutant in place of the module."""
    with tempfile.TemporaryDirectory(prefix="prism-mutant-") as folder:
        copied = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copied)
        (copied / path.relative_to(ROOT / "src")).write_text(mutant.source)
        environment = {**os.environ, "PYTHONPATH": f"{copied}{os.pathsep}{ROOT}"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "--tb=no"]
        command += ["-p", "no:cacheprovider", f"--timeout={_TEST_SECONDS}", *tests]
        try:
            run = subprocess.run(
                command,
                cwd=ROOT,
                env=environment,
                capture_output=True,
                check=False,
                timeout=_LIMIT_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return True
        return run.returncode != 0


def _short(source: str) -> str:
    line = " ".join(source.split())
    return line if len(line) <= 60 else f"{line[:60]}…"


if __name__ == "__main__":
    sys.exit(main())
