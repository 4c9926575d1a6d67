"""What the tests cover of each package, in one table, and the floors that hold.

`python -m tests.floors REPORT` reads what `coverage json` wrote.
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
}
"""Per cent of lines and branches together, by folder of `src/prism`."""


@dataclass(slots=True)
class Covered:
    """Lines and branches of one package."""

    hit: int = 0
    all: int = 0

    @property
    def percent(self) -> float:
        return 100 * self.hit / self.all if self.all else 100.0


def by_package(files: Mapping[str, Mapping[str, Mapping[str, int]]]) -> dict[str, Covered]:
    """From the `files` of a report of coverage to packages."""
    packages: dict[str, Covered] = {}
    for path, file in files.items():
        covered = packages.setdefault(_package_of(path), Covered())
        summary = file["summary"]
        covered.hit += summary["covered_lines"] + summary.get("covered_branches", 0)
        covered.all += summary["num_statements"] + summary.get("num_branches", 0)
    return packages


def table(packages: Mapping[str, Covered]) -> Iterator[str]:
    """Markdown, a row for each package."""
    yield "| package | covered | floor |"
    yield "|---|---|---|"
    for name, covered in sorted(packages.items()):
        floor = f"{FLOORS[name]} %" if name in FLOORS else ""
        yield f"| {name} | {covered.percent:.1f} % | {floor} |"


def too_low(packages: Mapping[str, Covered]) -> list[str]:
    """A sentence for each package that is below its floor, or is not there."""
    below = []
    for name, floor in FLOORS.items():
        covered = packages.get(name)
        if covered is None:
            below.append(f"{name}: nothing of it was measured")
        elif covered.percent < floor:
            below.append(f"{name}: {covered.percent:.1f} % is covered, and the floor is {floor} %")
    return below


def elsewhere(files: Iterable[str]) -> list[str]:
    """A sentence for a file of another copy of Prism, which would dilute what is measured here."""
    strange = sorted(path for path in files if Path(path).is_absolute())
    return [f"{path} is not of this checkout: do not measure what runs it" for path in strange[:1]]


def _package_of(path: str) -> str:
    parts = Path(path).parts
    inner = parts[parts.index("prism") + 1 : -1]
    if not inner:
        return "prism"
    return "/".join(inner[:2]) if inner[0] == "adapters" else inner[0]


def main(report: str) -> int:
    """Print the table; 1 when a floor does not hold."""
    files = json.loads(Path(report).read_text())["files"]
    packages = by_package(files)
    print(*table(packages), sep="\n")  # noqa: T201
    wrong = [*elsewhere(files), *too_low(packages)]
    for sentence in wrong:
        print(sentence, file=sys.stderr)  # noqa: T201
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
