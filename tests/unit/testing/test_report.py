"""The compliance report, written by pytest in a project as an author has it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from prism.testing.report import BEGIN, END, Matrix, Verdict, replace_block
from prism.testing.suite import GROUPS

BINDING = """
import pytest
from prism.adapters.memstore import DRIVER
from prism.testing.levels import in_process, over_grpc
from prism.testing.suite import Counters, Linearizability

class TestInProcess(Counters, Linearizability):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend():
        return in_process(DRIVER)

class TestBroken(Counters):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend():
        raise ConnectionError("no server")
"""


def run(project: Path, binding: str, *, workers: str) -> str:
    """Run the tests with a report into a README that has a table; return the output."""
    (project / "test_binding.py").write_text(binding)
    (project / "README.md").write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    ended = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--tb=no", "-n", workers),
            *("-p", "prism.testing.report", "--prism-report=build/compliance.json"),
            "--prism-report-into=README.md",
        ],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.stdout + ended.stderr


@pytest.mark.parametrize("workers", ["0", "2"])
def test_the_report_counts_by_backend_level_and_group(tmp_path: Path, workers: str) -> None:
    printed = run(tmp_path, BINDING, workers=workers)
    assert (tmp_path / "build/compliance.json").exists(), printed
    rows = json.loads((tmp_path / "build/compliance.json").read_text())
    found = {(row["backend"], row["level"], row["group"]): row for row in rows}
    counter = found["memstore", "in process", "counter"]
    assert counter["passed"] > 20
    assert (counter["failed"], counter["unsupported"], counter["not_reachable"]) == (0, 0, 0)
    linearizability = found["memstore", "in process", "linearizability"]
    assert linearizability["not_reachable"] == 1
    assert list(linearizability["reasons"]) == [
        "not reachable at this level: there are no connections"
    ]
    # A missing server is a failure, never a skip.
    broken = found["TestBroken", "?", "counter"]
    assert broken["failed"] == counter["passed"]
    assert broken["passed"] == 0
    readme = (tmp_path / "README.md").read_text()
    assert readme.startswith(f"before\n{BEGIN}\n| |")
    assert readme.endswith(f"{END}\nafter\n")
    assert "old" not in readme


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_run_without_tests_of_the_suite_keeps_the_last_report(
    tmp_path: Path, workers: str
) -> None:
    run(tmp_path, "import a_missing_module", workers=workers)
    assert not (tmp_path / "build/compliance.json").exists()
    assert "old" in (tmp_path / "README.md").read_text()


def test_a_backend_is_reported_by_its_given_name(tmp_path: Path) -> None:
    run(tmp_path, BINDING.replace("(DRIVER)", '(DRIVER, name="another")'), workers="0")
    rows = json.loads((tmp_path / "build/compliance.json").read_text())
    assert {row["backend"] for row in rows} == {"another", "TestBroken"}


def test_a_skip_for_another_reason_counts_as_a_failure() -> None:
    matrix = Matrix()
    matrix.add("one", "in process", "basic", "test_it", Verdict.FAILED, "no server today")
    assert "✗ 1" in matrix.as_markdown()
    assert "no server today" in matrix.as_markdown()


def test_a_failed_teardown_outweighs_a_pass() -> None:
    matrix = Matrix()
    for verdict in (Verdict.PASSED, Verdict.FAILED, Verdict.PASSED):
        matrix.add("one", "in process", "basic", "test_it", verdict)
    (row,) = matrix.as_json()
    assert (row["passed"], row["failed"], row["failures"]) == (0, 1, ["test_it"])


def test_a_file_without_the_block_is_refused() -> None:
    with pytest.raises(pytest.UsageError, match="compliance"):
        replace_block("no block here", "table")


def test_the_compliance_page_has_the_block() -> None:
    page = (Path(__file__).parents[3] / "docs" / "compliance.md").read_text()
    table = page.partition(BEGIN)[2].partition(END)
    assert table[1] == END
    rows = [line for line in table[0].splitlines() if line.startswith("| ")]
    # Empty before the first run; then one row for each group.
    assert not rows or [row.split(" | ")[0].strip("| ") for row in rows[1:]] == list(GROUPS)
