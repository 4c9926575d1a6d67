"""Runs one cell: pytest in the environment, on the servers, with a report that is then counted."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Container, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from tests.matrix.cells import Cell, Groups
from tests.matrix.downloads import ROOT, Unavailable
from tests.matrix.environments import PROJECT, versions_in
from tests.matrix.results import CellResult, Count
from tests.matrix.servers import NATS_2_15, REDIS_8_2
from tests.servers.nats import ENVIRONMENT as NATS
from tests.servers.redis import ENVIRONMENT as REDIS

_WORKERS = 2
_END_S = 60.0

_FAILED = {"failure", "error"}


def run_cell(cell: Cell) -> CellResult:
    """Run the tests of a cell, and count them by group."""
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    result = CellResult(cell.table, today, cell.label, required=cell.required)
    try:
        python = cell.environment.make()
        # What a cell does not vary is the server that developers have.
        chosen = (REDIS_8_2, NATS_2_15, *cell.servers)
        programs = {server.driver: server.fetch() for server in chosen}
        result.servers = [[each.product, each.version(), each.source] for each in cell.servers]
        result.python = versions_in(python)
    except Unavailable as error:
        result.unavailable = str(error)
        return result
    result.dependencies = cell.environment.dependencies
    environment = {
        name: text
        for name, text in os.environ.items()
        if not name.startswith(("PRISM_", "COVERAGE"))
    }
    environment |= {REDIS: str(programs["redis"]), NATS: str(programs["nats"])}
    # Tests start programs of the environment by name.
    environment["PATH"] = os.pathsep.join([str(python.parent), environment["PATH"]])
    tests = _Tests(python, environment, cell)
    began = time.monotonic()
    first, alone = ROOT / f"reports/{cell.name}.xml", ROOT / f"reports/{cell.name}-alone.xml"
    failure = tests.run(first, f"-n{_WORKERS}", "--dist=loadgroup")
    passed_alone: set[str] = set()
    if failure is None and first.exists() and failed_in(first):
        # Thousands of tests share the machine with the processes that they start.
        failure = tests.run(alone, "--last-failed", "--last-failed-no-failures=none")
        passed_alone = passed_in(alone) if alone.exists() else set()
    result.seconds = round(time.monotonic() - began, 1)
    if failure is not None:
        result.failures = [failure]
    if first.exists():
        count_report(first, cell.groups, result, passed_alone)
    return result


class _Tests:
    """The tests of one cell, run by pytest in its environment."""

    def __init__(self, python: Path, environment: dict[str, str], cell: Cell) -> None:
        self._python = python
        self._environment = environment
        self._cell = cell

    def run(self, report: Path, *options: str) -> str | None:
        """Run them, and write a report in the format of JUnit.

        Returns:
            What went wrong with the run, tests that fail apart; None: nothing.
        """
        log = report.with_suffix(".log")
        report.parent.mkdir(parents=True, exist_ok=True)
        report.unlink(missing_ok=True)
        cell = self._cell
        with log.open("wb") as output:
            process = subprocess.Popen(
                [str(self._python), "-m", "pytest", *options, "--quiet", f"--junitxml={report}"]
                + ["-o", f"cache_dir={ROOT / 'cache' / cell.name}", "-k", cell.only]
                + [path for paths in cell.groups.values() for path in paths],
                cwd=PROJECT,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            try:
                status = process.wait(cell.timeout_s)
            except subprocess.TimeoutExpired:
                # At SIGINT pytest ends its servers and writes the report of what has run.
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_END_S)
                process.kill()
                process.wait()
                limit = f"{cell.timeout_s / 60:g} minutes"
                return f"the tests take longer than {limit}: see reports/{log.name}"
        if status > 1 or (status == 1 and not report.exists()):
            return f"pytest ended with status {status}: see reports/{log.name}"
        return None


def passed_in(report: Path) -> set[str]:
    """Return the names of the tests that passed."""
    return {name for name, verdicts in _cases(report) if not verdicts & {*_FAILED, "skipped"}}


def failed_in(report: Path) -> set[str]:
    """Return the names of the tests that failed."""
    return {name for name, verdicts in _cases(report) if verdicts & _FAILED}


def _cases(report: Path) -> Iterator[tuple[str, set[str]]]:
    """Return each test of a report, and what it says about it; nothing: it passed."""
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        yield f"{case.get('classname')}.{case.get('name')}", {child.tag for child in case}


def count_report(
    report: Path, groups: Groups, result: CellResult, passed_alone: Container[str] = ()
) -> None:
    """Count the tests of a JUnit report by group.

    Args:
        passed_alone: names of tests that failed, and passed when they ran by themselves.
    """
    result.groups = {name: Count() for name in groups}
    for name, verdicts in _cases(report):
        group = _group_of(name, groups)
        if group is None:
            # Pytest itself failed, for example when a worker died.
            result.failures.append(name)
            continue
        count = result.groups[group]
        if verdicts & _FAILED and name not in passed_alone:
            count.failed += 1
            result.failures.append(name)
        elif "skipped" in verdicts:
            count.skipped += 1
        else:
            count.passed += 1


def _group_of(test: str, groups: Groups) -> str | None:
    """Return the group of the longest path that a test, named as in the report, belongs to.

    None: it is no test of any group.
    """
    paths = {
        path.replace("/", ".").replace(".py", "").replace("::", "."): name
        for name, paths in groups.items()
        for path in paths
    }
    found = [path for path in paths if f"{test}.".startswith(f"{path}.")]
    return paths[max(found, key=len)] if found else None
