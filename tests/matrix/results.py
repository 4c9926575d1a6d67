"""Results of the matrix, kept as JSON: a run of some cells keeps the results of the others."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("results.json")
"""Results of every cell that has been run, here or elsewhere."""


@dataclass(slots=True)
class Count:
    """Tests of one group that passed, that failed, and that do not apply."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0


@dataclass(slots=True)
class CellResult:
    """Result of one cell.

    Attributes:
        table: name of the table that shows it.
        date: day of the run.
        label: name of the server or of the environment, for people.
        servers: product, version and source of each server.
        python: versions of Python and of the main dependencies.
        dependencies: whether these are the oldest or the newest.
        groups: counts by name of the group.
        failures: names of the tests that failed.
        unavailable: why the cell could not run; empty if it ran.
        required: whether it must be possible to run it.
        seconds: time that the tests took.
    """

    table: str
    date: str
    label: str
    servers: list[list[str]] = field(default_factory=list)
    python: str = ""
    dependencies: str = ""
    groups: dict[str, Count] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    unavailable: str = ""
    required: bool = True
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether tests ran and all passed, or the cell may be missing."""
        if self.unavailable:
            return not self.required
        return not self.failures and any(each.passed for each in self.groups.values())

    @property
    def summary(self) -> str:
        """What a person wants to know, in one line."""
        if self.unavailable:
            return f"cannot be had here: {self.unavailable}"
        passed = sum(each.passed for each in self.groups.values())
        text = f"{passed} passed, {len(self.failures)} failed, in {self.seconds:.0f} s"
        return "\n  failed: ".join([text, *self.failures])

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> CellResult:
        groups = {name: Count(**each) for name, each in fields.pop("groups").items()}
        return cls(**fields, groups=groups)


@dataclass(slots=True)
class Results:
    """Results by name of the cell, and what is said to servers that are too old."""

    path: Path
    cells: dict[str, CellResult] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read the results of earlier runs, if there are any."""
        if not path.exists():
            return cls(path)
        stored = json.loads(path.read_text())
        cells = {name: CellResult.from_json(each) for name, each in stored["cells"].items()}
        return cls(path, cells, stored["refusals"])

    def write(self) -> None:
        """Write them to their file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        cells = {name: asdict(each) for name, each in self.cells.items()}
        text = json.dumps({"cells": cells, "refusals": self.refusals}, indent=1, ensure_ascii=False)
        self.path.write_text(text + "\n")
