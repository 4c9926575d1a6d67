"""Coverage of each package as a table, and the minimum that is required.

`python -m tests.floors REPORT` reads a report written by `coverage json`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

FLOORS = {
    "ports": 85,
    "domain": 85,
    "bootstrap": 85,
    "cli": 85,
    "testing": 85,
    "adapters/client": 80,
    "adapters/memstore": 80,
    "adapters/nats": 80,
    "adapters/redis": 80,
    "adapters/sqlite": 80,
}
"""Required percentage of lines and branches together, by folder of `src/prism`."""


@dataclass(slots=True)
class Coverage:
    """Coverage of one package.

    Attributes:
        hit: number of lines and branches that ran.
        all: number of lines and branches.
    """

    hit: int = 0
    all: int = 0

    @property
    def percent(self) -> float:
        return 100 * self.hit / self.all if self.all else 100.0


def by_package(files: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, Coverage]:
    """Sum the `files` of a coverage report by package."""
    packages: dict[str, Coverage] = {}
    for path, file in files.items():
        covered = packages.setdefault(_package_of(path), Coverage())
        summary = file["summary"]
        covered.hit += summary["covered_lines"] + summary.get("covered_branches", 0)
        covered.all += summary["num_statements"] + summary.get("num_branches", 0)
    return packages


def table(packages: Mapping[str, Coverage]) -> Iterator[str]:
    """Yield a Markdown table with a row for each package."""
    yield "| package | covered | floor |"
    yield "|---|---|---|"
    for name, covered in sorted(packages.items()):
        floor = f"{FLOORS[name]} %" if name in FLOORS else ""
        yield f"| {name} | {covered.percent:.1f} % | {floor} |"


def below_floor(packages: Mapping[str, Coverage]) -> list[str]:
    """Return a sentence for each package that is below its floor or missing."""
    below = []
    for name, floor in FLOORS.items():
        covered = packages.get(name)
        if covered is None:
            below.append(f"{name}: no file was measured")
        elif covered.percent < floor:
            below.append(f"{name}: {covered.percent:.1f} % is covered, the floor is {floor} %")
    return below


def foreign_files(files: Iterable[str]) -> list[str]:
    """Return a sentence if another copy of Prism was measured, which distorts the figures."""
    foreign = sorted(path for path in files if Path(path).is_absolute())
    return [
        f"{path} is not in this checkout: run its test without coverage" for path in foreign[:1]
    ]


def _package_of(path: str) -> str:
    parts = Path(path).parts
    inner = parts[parts.index("prism") + 1 : -1]
    if not inner:
        return "prism"
    return "/".join(inner[:2]) if inner[0] == "adapters" else inner[0]


def main(report: str) -> int:
    """Print the table; return 1 when a package is below its floor."""
    files = json.loads(Path(report).read_text())["files"]
    packages = by_package(files)
    print(*table(packages), sep="\n")  # noqa: T201
    problems = [*foreign_files(files), *below_floor(packages)]
    for sentence in problems:
        print(sentence, file=sys.stderr)  # noqa: T201
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
