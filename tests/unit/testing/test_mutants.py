"""`make mutants` changes what runs, and blames a test only for failures that repeat."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import prism
from tests.mutants.areas import AREAS, ROOT
from tests.mutants.equivalents import key_of, read_equivalents
from tests.mutants.functions import LoadedFunctions, NotInFunctionsError
from tests.mutants.mutations import mutants_of, source_of, tree_of
from tests.mutants.plugin import ENVIRONMENT, Plan, read_results
from tests.mutants.runs import Baseline

SOURCE = """
from dataclasses import dataclass
if TYPE_CHECKING:
    import late
@dataclass(frozen=True, slots=True)
class Counter:
    count: int = 0
    def add(self, more):
        if more > 0 and not self.closed:
            _log.info("adds", more)
            self.told(more)
            return self.count + more
"""

LOADED = """
class Counter:
    closed = False

    def __init__(self):
        super().__init__()

    @property
    def even(self):
        return any(number == 0 for number in (self.count % 2,))

    def add(self, more=1 + 1):
        self.count = self.count + more
"""

TESTS = """
from pathlib import Path

def test_fails_once():
    mark = Path(__file__).with_name("mark")
    failed_before = mark.exists()
    mark.touch()
    assert failed_before

def test_fails_always():
    assert False

def test_passes():
    pass
"""


def test_each_mutant_changes_one_expression_or_statement() -> None:
    mutants = list(mutants_of(SOURCE))
    assert {(mutant.before, mutant.after) for mutant in mutants} == {
        ("if more > 0 and (not self.closed)", "if False"),
        ("more > 0 and (not self.closed)", "more > 0 or not self.closed"),
        ("more > 0", "more >= 0"),
        ("not self.closed", "self.closed"),
        ("self.told(more)", "pass"),
        ("self.count + more", "self.count - more"),
    }
    assert {mutant.within for mutant in mutants} == {"Counter.add"}
    assert {line for mutant in mutants for line in mutant.lines} == {9, 11, 12}
    changed = next(mutant for mutant in mutants if mutant.after == "pass")
    assert "self.told" not in source_of(changed, SOURCE)
    assert "return self.count + more" in source_of(changed, SOURCE)


def test_a_mutant_that_is_listed_as_equivalent_exists() -> None:
    existing = {
        key_of(file, mutant)
        for area in AREAS.values()
        for file in area.files()
        for mutant in mutants_of(file.read_text())
    }
    assert read_equivalents().keys() <= existing


def test_only_a_test_that_fails_twice_counts_as_failed(tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS)
    names = [f"test_some.py::test_{name}" for name in ("passes", "fails_always", "fails_once")]
    plan = Plan(str(Path(prism.__file__).parents[1]), str(tmp_path / "results"), names, {}, names)
    plan.write(tmp_path / "plan")
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.plugin", "test_some.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), ENVIRONMENT: str(tmp_path / "plan")},
        check=False,
    )
    results = read_results(tmp_path / "results")
    assert [(result.test, bool(result.failure)) for result in results] == [
        (names[0], False),
        (names[1], True),
        (names[2], False),
    ]


def test_a_change_is_made_in_the_functions_that_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "loaded_counter.py"
    file.write_text(LOADED)
    monkeypatch.syspath_prepend(str(tmp_path))
    functions = LoadedFunctions(tmp_path, [file])
    counter = importlib.import_module("loaded_counter").Counter()
    counter.count = 4

    def change(before: str) -> None:
        mutant = next(each for each in mutants_of(LOADED) if each.before == before)
        functions.change(str(file), tree_of(mutant.index, LOADED))

    assert counter.even
    change("number == 0")
    assert not counter.even
    change("self.count + more")
    counter.add(3)
    assert counter.count == 1
    for of_the_import in ("False", "1 + 1", "super().__init__()"):
        with pytest.raises(NotInFunctionsError):
            change(of_the_import)


def test_tests_that_ran_the_line_come_first_and_then_those_with_processes() -> None:
    file = Path("src/prism/adapters/redis/scan.py")
    near, far, other = "tests/unit/redis/a", "tests/integration/redis/b", "tests/unit/redis/c"
    seconds = {near: 1.0, other: 0.1, far: 2.0}
    lines = {str(file): {3: {near}, 9: {""}}}
    baseline = Baseline(AREAS["redis"], seconds, [], lines)
    assert baseline.tests_for(file, range(3, 4)) == [near, far]
    assert baseline.tests_for(file, range(5, 6)) == [far]
    assert baseline.tests_for(file, range(9, 10)) == [near, other, far]
