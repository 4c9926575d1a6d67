"""Every planted fault fails the test it names, and `make suite-selftest` judges that correctly.

The faults run in a project as an author has it: one module, no configuration, a pytest of
its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from tests.selftest.faults import FAULTS, Fault
from tests.selftest.verdict import Verdict

BINDING = """
import pytest
from prism.testing.suite import GROUPS
from tests.selftest.faults import FAULTS, with_fault

def bind(fault):
    class Bound(next(group for group in GROUPS.values() if hasattr(group, fault.caught_by))):
        timeout_factor = 0.1
        @pytest.fixture(scope="class")
        @staticmethod
        def open_backend():
            return with_fault(fault)
    Bound.__name__ = Bound.__qualname__ = f"Test{fault.__name__}"
    return Bound

for fault in FAULTS:
    globals()[f"Test{fault.__name__}"] = bind(fault)
"""

SELECTION = """
from tests.selftest.faults import FAULTS

CAUGHT_BY = {f"Test{fault.__name__}": fault.caught_by for fault in FAULTS}

def pytest_collection_modifyitems(items):
    items[:] = [
        item for item in items
        if item.originalname == CAUGHT_BY[item.cls.__name__]
    ]
"""

Results = dict[str, dict[str, bool]]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Whether each test passed, by fault and test."""
    project = tmp_path_factory.mktemp("project")
    (project / "test_faults.py").write_text(BINDING)
    (project / "conftest.py").write_text(SELECTION)
    report = project / "report.xml"
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=no", f"--junitxml={report}", project],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert report.exists(), run.stdout + run.stderr
    return _read(report)


def _read(report: Path) -> Results:
    results: Results = {}
    for case in ET.parse(report).iter("testcase"):
        assert case.find("error") is None, ET.tostring(case, "unicode")
        fault = case.attrib["classname"].rpartition(".Test")[2]
        results.setdefault(fault, {})[case.attrib["name"]] = case.find("failure") is None
    return results


@pytest.mark.slow
@pytest.mark.timeout(600)  # the first runs all faults
@pytest.mark.xdist_group("faults")
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_fails_the_test_it_names(results: Results, fault: type[Fault]) -> None:
    named = [
        passed
        for name, passed in results[fault.__name__].items()
        if name.partition("[")[0] == fault.caught_by
    ]
    assert named
    assert not all(named)


FAULT = FAULTS[0]
NAMED = f"{FAULT.caught_by}[case]"
OTHERS = {f"test_{number}": True for number in range(10)}


def test_a_fault_is_identified_when_its_test_fails_and_most_others_pass() -> None:
    assert Verdict(FAULT, {**OTHERS, NAMED: False, "test_0": False}, is_complete=True).is_identified


@pytest.mark.parametrize(
    "passed",
    [
        {**OTHERS, NAMED: True},
        OTHERS,
        {**OTHERS, NAMED: False, "test_0": False, "test_1": False, "test_2": False},
        {NAMED: False},
        {},
    ],
    ids=[
        "not caught",
        "named test did not run",
        "too many others fail",
        "no other test ran",
        "no test ran",
    ],
)
def test_a_fault_is_not_identified_otherwise(passed: dict[str, bool]) -> None:
    assert not Verdict(FAULT, passed, is_complete=True).is_identified


def test_an_interrupted_run_identifies_nothing() -> None:
    verdict = Verdict(FAULT, {**OTHERS, NAMED: False}, is_complete=False)
    assert not verdict.is_identified
    assert "INTERRUPTED" in verdict.line()
