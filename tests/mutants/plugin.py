"""Pytest plugin that runs the tests of a plan in its order, and records their results.

A test that fails runs again at once: only a test that fails twice counts as failed.
"""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest
from _pytest.runner import runtestprotocol

import prism

ENVIRONMENT = "PRISM_MUTANTS_PLAN"
"""Variable with the path of the plan."""


@dataclass(slots=True)
class Plan:
    """What a run of pytest does.

    Attributes:
        source: folder that Prism must be imported from.
        results: file for the results, a line of JSON for each test.
        tests: names of the tests to run, in their order; empty: all.
        limits: seconds that each of them may take.
        known: names of the tests that were measured; others are new, and run first.
        file: file of which a function is changed in memory, if `mutant` is given.
        mutant: index of the change.
        socket: where the process serves forks, if it runs no tests itself.
        files: files whose functions the forks can change.
    """

    source: str
    results: str
    tests: list[str] = field(default_factory=list)
    limits: dict[str, float] = field(default_factory=dict)
    known: list[str] = field(default_factory=list)
    file: str = ""
    mutant: int | None = None
    socket: str = ""
    files: list[str] = field(default_factory=list)

    def write(self, file: Path) -> None:
        file.write_text(json.dumps(asdict(self)))


@dataclass(frozen=True, slots=True)
class Result:
    """Result of one test.

    Attributes:
        test: its name.
        seconds: how long it took.
        failure: what it raised, empty if it passed.
    """

    test: str
    seconds: float
    failure: str = ""


def read_results(file: Path) -> list[Result]:
    """Return the results that a run has written."""
    return [Result(**json.loads(line)) for line in file.read_text().splitlines()]


def _plan() -> Plan:
    return Plan(**json.loads(Path(os.environ[ENVIRONMENT]).read_text()))


def pytest_configure(config: pytest.Config) -> None:
    plan = _plan()
    if not Path(prism.__file__).is_relative_to(plan.source):
        raise pytest.UsageError(f"{prism.__file__} is imported, which is not in {plan.source}")
    config.stash[PLAN] = plan


PLAN = pytest.StashKey[Plan]()


# Last, because xdist adds the group to the name of a test.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    plan = config.stash[PLAN]
    if plan.tests:
        arrange(plan, items)


def arrange(plan: Plan, items: list[pytest.Item]) -> None:
    """Keep the tests of a plan and the new ones, in their order and with their limits."""
    by_name = {name_of(item.nodeid): item for item in items}
    new = [item for name, item in by_name.items() if name not in set(plan.known)]
    items[:] = new + [by_name[name] for name in plan.tests if name in by_name]
    for item in items:
        limit = plan.limits.get(name_of(item.nodeid))
        if limit is not None:
            item.add_marker(pytest.mark.timeout(limit))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    plan = item.config.stash[PLAN]
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if any(report.failed for report in reports):
        item._initrequest()  # type: ignore[attr-defined]
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    failure = next((str(report.longrepr) for report in reports if report.failed), "")
    seconds = sum(report.duration for report in reports)
    result = Result(name_of(item.nodeid), seconds, failure[-2000:])
    with Path(plan.results).open("a") as file:
        file.write(json.dumps(asdict(result)) + "\n")
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def name_of(nodeid: str) -> str:
    """Return the name of a test without the group that xdist adds."""
    return re.sub(r"@[^\]/]+$", "", nodeid)
