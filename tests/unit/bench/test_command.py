"""The command `python -m benchmarks`, with rows that have fixed figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import __main__ as command
from benchmarks import report
from benchmarks.processes import CannotRun, Cores, NotInstalled
from benchmarks.report import TABLES
from benchmarks.rounds import Result
from benchmarks.rows import BARE_GRPC, PRISM, Row
from benchmarks.series import Series
from benchmarks.sides import StartUp
from tests.unit.bench.sample_run import IN_README, RUN

PAGE = "<!-- benchmark -->\nold table\n<!-- /benchmark -->\n"
FAST = Row("fast", StartUp(PRISM), 2, 4, StartUp(BARE_GRPC), "bare")
SLOW = Row("slow", StartUp(PRISM), floor=0.8, aim=0.4)

run_all = command.run


class Curve:
    """Curve with the figures of the sample run."""

    def __init__(self, key: str) -> None:
        self.key = self.name = key

    def measure(
        self, cores: Cores, *, rounds: int, seconds: float, progress: Callable[[str], None]
    ) -> dict[str, Any]:
        if self.key == "broken":
            raise CannotRun("there is nothing here")
        return dict(RUN["series"][self.key])


def fixed_run(
    rows: Sequence[Row], curves: Sequence[Series], cores: Cores, *, rounds: int, **options: Any
) -> command.Run:
    """Replace `run`: every ratio is 3, every figure 0.9."""
    done = run_all([], curves, cores, rounds=rounds, **options)
    done.results.extend(
        Result(row, [3], [1]) if row.peer else Result(row, [0.9], []) for row in rows
    )
    return done


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    for page in TABLES:
        (tmp_path / page).write_text(PAGE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "_cores", lambda: Cores(0, 1))
    monkeypatch.setattr(command, "run", fixed_run)
    monkeypatch.setattr(report, "IN_README", {**IN_README, FAST.name: ("Fast", "bare ones")})
    monkeypatch.setattr(command, "ROWS", [FAST])
    monkeypatch.setattr(command, "SERIES", [Curve("latency"), Curve("keys")])
    return tmp_path


def pages_are_unchanged(folder: Path) -> bool:
    pages = all((folder / page).read_text() == PAGE for page in TABLES)
    return pages and not any((folder / "docs" / "pictures").iterdir())


def written_json(folder: Path) -> Any:
    (path,) = (folder / "build" / "bench").iterdir()
    return json.loads(path.read_text())


def test_a_complete_run_is_saved_and_documented(folder: Path) -> None:
    assert command.main([]) == 0
    fields = written_json(folder)
    assert [row["name"] for row in fields["rows"]] == ["fast : bare"]
    assert set(fields["series"]) == {"latency", "keys"}
    assert "| fast | 3.00 × bare | 2 | 4 |" in (folder / "docs" / "performance.md").read_text()
    assert "| Fast | 3.00 × bare ones |" in (folder / "README.md").read_text()
    assert len(list((folder / "docs" / "pictures").glob("bench-*.svg"))) == 3


@pytest.mark.parametrize("only", ["FAST", "latency"])
def test_a_partial_run_is_saved_but_not_documented(folder: Path, only: str) -> None:
    assert command.main(["--only", only]) == 0
    fields = written_json(folder)
    assert [row["name"] for row in fields["rows"]] == ["fast : bare"] * (only == "FAST")
    assert set(fields["series"]) == {only} - {"FAST"}
    assert pages_are_unchanged(folder)


def test_an_unknown_name_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "hen's teeth"]) == 2
    assert (
        capsys.readouterr().err
        == 'benchmarks: no row and no curve has "hen\'s teeth" in its name\n'
    )


def test_a_row_below_its_floor_is_documented_and_gives_status_1(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "ROWS", [FAST, SLOW])
    assert command.main([]) == 1
    assert (
        "| slow | 0.90 **misses** | 0.8 | 0.4 |" in (folder / "docs" / "performance.md").read_text()
    )


def test_a_failed_measurement_is_reported_and_leaves_the_pages_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "SERIES", [Curve("broken"), Curve("keys")])
    assert command.main([]) == 2
    assert "benchmarks: broken: there is nothing here\n" in capsys.readouterr().err
    assert set(written_json(folder)["series"]) == {"keys"}
    assert pages_are_unchanged(folder)


def without_go(row: Row, *_: Any, **__: Any) -> Result:
    """Replace `measure`: only the fast row has what it needs."""
    if row is not FAST:
        raise NotInstalled("Go is missing")
    return Result(row, [3], [1])


def test_a_run_is_complete_without_a_row_whose_program_is_missing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "run", run_all)
    monkeypatch.setattr(command, "measure", without_go)
    monkeypatch.setattr(command, "ROWS", [FAST, SLOW])
    assert command.main([]) == 0
    assert capsys.readouterr().err == "benchmarks: slow is left out: Go is missing\n"
    table = (folder / "docs" / "performance.md").read_text()
    assert "| fast | 3.00 × bare | 2 | 4 |" in table
    assert "| slow |" not in table


def test_a_run_that_leaves_everything_out_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "run", run_all)
    monkeypatch.setattr(command, "measure", without_go)
    monkeypatch.setattr(command, "ROWS", [SLOW])
    assert command.main(["--only", "slow"]) == 2


def test_an_earlier_run_is_documented_without_measuring(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "run", None)
    (folder / "earlier.json").write_text(json.dumps(RUN))
    assert command.main(["--draw", "earlier.json"]) == 0
    assert "| A | 8.39 × the calls of b |" in (folder / "README.md").read_text()
    assert not (folder / "build").exists()


def test_a_partial_run_cannot_be_documented(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--only", "latency"]) == 0
    (path,) = (folder / "build" / "bench").iterdir()
    assert command.main(["--draw", str(path)]) == 2
    assert "only a complete run" in capsys.readouterr().err
    assert pages_are_unchanged(folder)
