"""Runs one cell: pytest in the environment, on the servers, with a report that is then counted."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
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

_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 4 << 30


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
    environment |= {REDIS: str(programs["redis"]), NATS: str(programs["nats"]), **_quick_folder()}
    # Tests start programs of the environment by name.
    environment["PATH"] = os.pathsep.join([str(python.parent), environment["PATH"]])
    report, log = (ROOT / "reports" / f"{cell.name}.{kind}" for kind in ("xml", "log"))
    report.parent.mkdir(parents=True, exist_ok=True)
    report.unlink(missing_ok=True)
    began = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(python), "-m", "pytest", f"-n{_WORKERS}", "--dist=loadgroup", "--quiet"]
            + ["-p", "no:cacheprovider", f"--junitxml={report}", "-k", cell.only]
            + [path for paths in cell.groups.values() for path in paths],
            cwd=PROJECT,
            env=environment,
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
            result.failures = [f"the tests take longer than {limit}: see reports/{log.name}"]
            status = 0
    result.seconds = round(time.monotonic() - began, 1)
    if report.exists():
        count_report(report, cell.groups, result)
    if status and not result.failures:
        result.failures = [f"pytest ended with status {status}: see reports/{log.name}"]
    return result


def _quick_folder() -> dict[str, str]:
    """Let servers keep their data in memory, where that is large enough.

    Tests wait for each write to reach the disk, which takes most of their time elsewhere.
    """
    if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _MEMORY_BYTES:
        return {"TMPDIR": str(_MEMORY)}
    return {}


def count_report(report: Path, groups: Groups, result: CellResult) -> None:
    """Count the tests of a JUnit report by group."""
    result.groups = {name: Count() for name in groups}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}"
        verdicts = {child.tag for child in case}
        group = _group_of(name, groups)
        if group is None:
            # Pytest itself failed, for example when a worker died.
            result.failures.append(name)
            continue
        count = result.groups[group]
        if verdicts & {"failure", "error"}:
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
