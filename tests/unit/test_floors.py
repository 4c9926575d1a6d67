"""The coverage floors detect code that is not covered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.floors import FLOORS, below_floor, by_package, main


def _file(covered: int, statements: int) -> dict[str, dict[str, int]]:
    return {"summary": {"covered_lines": covered, "num_statements": statements}}


def _path(package: str) -> str:
    return f"src/prism/{package}/module.py"


ALL_COVERED = {_path(package): _file(100, 100) for package in FLOORS}


def test_full_coverage_is_above_every_floor() -> None:
    assert below_floor(by_package(ALL_COVERED)) == []


@pytest.mark.parametrize("package", FLOORS)
def test_a_file_without_coverage_brings_its_package_below_the_floor(package: str) -> None:
    planted = {**ALL_COVERED, f"src/prism/{package}/planted/deep.py": _file(0, 40)}
    (sentence,) = below_floor(by_package(planted))
    assert sentence.startswith(f"{package}: 71.4 % is covered")


def test_a_package_that_was_not_measured_is_below_its_floor() -> None:
    rest = {path: file for path, file in ALL_COVERED.items() if "nats" not in path}
    assert below_floor(by_package(rest)) == ["adapters/nats: no file was measured"]


def test_branches_count_like_lines() -> None:
    summary = {
        "covered_lines": 10, "num_statements": 10, "covered_branches": 0, "num_branches": 10,
    }  # fmt: skip
    assert by_package({_path("ports"): {"summary": summary}})["ports"].percent == 50


def test_the_table_is_printed_and_the_status_is_1_below_a_floor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "coverage.json"
    report.write_text(json.dumps({"files": ALL_COVERED}))
    assert main(str(report)) == 0
    assert "| ports | 100.0 % | 85 % |" in capsys.readouterr().out
    report.write_text(json.dumps({"files": {**ALL_COVERED, _path("ports"): _file(1, 2)}}))
    assert main(str(report)) == 1
    assert "ports: 50.0 % is covered, the floor is 85 %" in capsys.readouterr().err


def test_a_file_of_another_copy_is_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "coverage.json"
    copied = str(tmp_path / _path("ports"))
    report.write_text(json.dumps({"files": {**ALL_COVERED, copied: _file(2, 2)}}))
    assert main(str(report)) == 1
    error = capsys.readouterr().err
    assert error == f"{copied} is not in this checkout: run its test without coverage\n"
