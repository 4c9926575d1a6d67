"""The floors of coverage notice what is not covered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.floors import FLOORS, by_package, main, too_low


def _file(covered: int, statements: int) -> dict[str, dict[str, int]]:
    return {"summary": {"covered_lines": covered, "num_statements": statements}}


def _path(package: str) -> str:
    return f"src/prism/{package}/module.py"


ALL_COVERED = {_path(package): _file(100, 100) for package in FLOORS}


def test_what_is_covered_keeps_every_floor() -> None:
    assert too_low(by_package(ALL_COVERED)) == []


@pytest.mark.parametrize("package", FLOORS)
def test_a_file_that_nobody_runs_drops_its_package_below_the_floor(package: str) -> None:
    planted = {**ALL_COVERED, f"src/prism/{package}/planted/deep.py": _file(0, 40)}
    (sentence,) = too_low(by_package(planted))
    assert sentence.startswith(f"{package}: 71.4 % is covered")


def test_a_package_that_was_not_measured_is_below_its_floor() -> None:
    rest = {path: file for path, file in ALL_COVERED.items() if "nats" not in path}
    assert too_low(by_package(rest)) == ["adapters/nats: nothing of it was measured"]


def test_branches_count_as_lines_do() -> None:
    summary = {
        "covered_lines": 10, "num_statements": 10, "covered_branches": 0, "num_branches": 10,
    }  # fmt: skip
    assert by_package({_path("ports"): {"summary": summary}})["ports"].percent == 50


def test_the_table_is_printed_and_the_status_says_whether_floors_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "coverage.json"
    report.write_text(json.dumps({"files": ALL_COVERED}))
    assert main(str(report)) == 0
    assert "| ports | 100.0 % | 85 % |" in capsys.readouterr().out
    report.write_text(json.dumps({"files": {**ALL_COVERED, _path("ports"): _file(1, 2)}}))
    assert main(str(report)) == 1
    assert "ports: 50.0 % is covered, and the floor is 85 %" in capsys.readouterr().err


def test_files_of_another_copy_are_told_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "coverage.json"
    copied = str(tmp_path / _path("ports"))
    report.write_text(json.dumps({"files": {**ALL_COVERED, copied: _file(2, 2)}}))
    assert main(str(report)) == 1
    told = capsys.readouterr().err
    assert told == f"{copied} is not of this checkout: do not measure what runs it\n"
