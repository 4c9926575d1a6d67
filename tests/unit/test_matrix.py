"""The matrix counts what pytest reports, and shows failures and missing servers."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.matrix import environments, tables
from tests.matrix.cells import Cell, all_cells, is_chosen, short_cells
from tests.matrix.downloads import Unavailable
from tests.matrix.environments import PROJECT, Dependencies, Environment
from tests.matrix.refusals import is_refusal
from tests.matrix.results import RESULTS, CellResult, Count, Results
from tests.matrix.running import count_report, failed_in

REPORT = """
<testsuites><testsuite>
  <testcase classname="tests.contract.test_redis.TestInProcess" name="test_a"/>
  <testcase classname="tests.contract.test_redis.TestInProcess" name="test_b"><failure/></testcase>
  <testcase classname="tests.integration.redis.test_c" name="test_c"><skipped/></testcase>
  <testcase classname="pytest" name="internal"><error/></testcase>
</testsuite></testsuites>
"""


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Document with empty tables."""
    path = tmp_path / "compatibility.md"
    names = ("redis", "nats", "python", "refused")
    path.write_text("".join(f"<!-- {name} -->\n<!-- /{name} -->\n" for name in names))
    monkeypatch.setattr(tables, "DOCUMENT", path)
    return path


def result(**fields: object) -> CellResult:
    return CellResult("redis", "2026-01-02", "Redis 7.0", **fields)  # type: ignore[arg-type]


def test_tests_are_counted_by_their_group(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    groups = {
        "single server": ("tests/contract/test_redis.py::TestInProcess",),
        "integration": ("tests/integration/redis",),
    }
    counted = result()
    count_report(report, groups, counted)
    assert counted.groups == {"single server": Count(1, 1), "integration": Count(skipped=1)}
    failed = "tests.contract.test_redis.TestInProcess.test_b"
    assert counted.failures == [failed, "pytest.internal"]
    assert not counted.is_good


def test_a_test_that_passes_by_itself_counts_as_passed(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(REPORT)
    failed = "tests.contract.test_redis.TestInProcess.test_b"
    assert failed_in(report) == {failed, "pytest.internal"}
    counted = result()
    groups = {"redis": ("tests/contract/test_redis.py", "tests/integration/redis")}
    count_report(report, groups, counted, passed_alone={failed})
    assert counted.groups == {"redis": Count(2, skipped=1)}
    assert counted.failures == ["pytest.internal"]


def test_a_cell_in_which_no_test_ran_is_a_failure() -> None:
    assert not result(groups={"single server": Count(skipped=3)}).is_good


def test_only_a_required_cell_must_be_possible() -> None:
    assert result(unavailable="no apt", required=False).is_good
    assert not result(unavailable="no apt", required=True).is_good


def test_results_of_other_cells_are_kept(tmp_path: Path) -> None:
    results = Results(tmp_path / "results.json", {"a": result(groups={"Cluster": Count(2)})})
    results.write()
    assert Results.read(results.path).cells == results.cells


def test_tables_show_failures_and_what_could_not_run(document: Path) -> None:
    ran = result(
        servers=[["Redis", "7.0.15", "Debian 12"]], groups={"single server": Count(8, failed=2)}
    )
    results = Results(document, {"redis7.2": result(unavailable="no apt"), "redis7.0": ran})
    tables.write_tables(results)
    text = document.read_text()
    assert "| Redis 7.0.15 | Debian 12 | ✗ 2, ✓ 8 | 2026-01-02 |" in text
    assert text.index("| ✗ 2, ✓ 8 |") < text.index("| Redis 7.0 | not run: no apt | | 2026-01-02 |")


@pytest.mark.parametrize("cells", [list(all_cells()), list(short_cells())], ids=["all", "short"])
def test_the_tests_of_every_cell_exist(cells: list[Cell]) -> None:
    for cell in cells:
        for paths in cell.groups.values():
            for path in paths:
                assert (PROJECT / path.partition("::")[0]).exists(), path
    assert len({cell.name for cell in cells}) == len(cells)


def test_environments_differ_by_python_and_dependencies() -> None:
    assert Environment("3.11", Dependencies.OLDEST).name == "python3.11-oldest"


def test_an_interpreter_that_cannot_be_had_is_named_with_what_brings_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(version: str, suite: str) -> Path:
        raise Unavailable(f"{suite} has none")

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setattr(environments, "_debian_python", refuse)
    with pytest.raises(Unavailable, match=r"no interpreter: Python 3\.99 .*uv python install 3"):
        Environment("3.99", Dependencies.NEWEST).make()


def test_an_interpreter_of_pyenv_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "versions/3.99.1/bin/python3.99"
    program.parent.mkdir(parents=True)
    program.symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert list(environments._installed("3.99")) == [program]


def test_a_server_that_is_served_is_not_refused() -> None:
    assert not is_refusal("is served")
    assert is_refusal("it has version 6.2.5; Prism needs Redis 7.0 or newer")


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        ("nats2.11.1", {"nats2.11.1"}),
        ("nats2.11", {"nats2.11.1", "nats2.11.11"}),
        ("redis7", {"redis7.0"}),
        ("3.11-", {"python3.11-oldest"}),
        ("", {"nats2.11.1", "nats2.11.11", "redis7.0", "python3.11-oldest"}),
    ],
)
def test_a_number_chooses_no_longer_number(only: str, chosen: set[str]) -> None:
    names = ("nats2.11.1", "nats2.11.11", "redis7.0", "python3.11-oldest")
    assert {name for name in names if is_chosen(name, only)} == chosen


def test_the_document_shows_the_results_that_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = tables.DOCUMENT.read_text()
    copy = tmp_path / "compatibility.md"
    copy.write_text(written)
    monkeypatch.setattr(tables, "DOCUMENT", copy)
    tables.write_tables(Results.read(RESULTS))
    assert copy.read_text() == written
