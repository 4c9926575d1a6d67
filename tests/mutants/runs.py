"""Runs of pytest: the baseline on the original code, and the judgement of each mutant."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from coverage import CoverageData

from tests.mutants.areas import ROOT, Area
from tests.mutants.mutations import Mutant, source_of
from tests.mutants.plugin import ENVIRONMENT, Plan, Result, name_of, read_results

# A test may take this much longer on a mutant, because the machine may be busy.
_LIMIT_FACTOR = 10
_LIMIT_SECONDS = 20.0
_RUN_SECONDS = 1800
_WORKERS = 4

# Status of pytest-timeout when it ends the process.
_TIMED_OUT = 1


class Verdict(Enum):
    """What the tests say about a mutant."""

    KILLED = "killed"
    SURVIVED = "SURVIVED"
    UNCLEAR = "UNCLEAR"


@dataclass(frozen=True, slots=True)
class Judgement:
    """Verdict on a mutant, and why.

    Attributes:
        verdict: whether a test noticed.
        reason: name of the test that failed, or what happened instead.
    """

    verdict: Verdict
    reason: str


class BaselineFailed(Exception):
    """The tests do not run on the original code, so they can judge nothing."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What the tests of an area do on the original code.

    Attributes:
        area: the area.
        seconds: how long each test took, by name, in the order of the tests.
        failed: tests that fail without any change, and so judge nothing.
        tests_by_line: names of the tests that ran each line, by file and line; the empty name
            is that of the import.
    """

    area: Area
    seconds: dict[str, float]
    failed: list[str]
    tests_by_line: dict[str, dict[int, set[str]]]

    def tests_for(self, file: Path, lines: Iterable[int]) -> list[str]:
        """Return the tests that may notice a change of these lines, the quickest first.

        Tests that start processes of their own come last, because which lines run in those is
        unknown.
        """
        ran = self.tests_by_line.get(str(file), {})
        names = set().union(*(ran.get(line, set()) for line in lines))
        if "" in names:
            return list(self.seconds)
        near = [name for name in self.seconds if name in names]
        others = (name for name in self.seconds if name not in names)
        return [*near, *filter(_starts_processes, others)]


def measure(area: Area) -> Baseline:
    """Run the tests on the original code.

    Raises:
        BaselineFailed: no test runs, or the run ends early.
    """
    with tempfile.TemporaryDirectory(prefix="prism-mutants-") as name:
        folder = Path(name)
        data, settings = folder / "coverage", folder / "coveragerc"
        files = "\n    ".join(map(str, area.files()))
        settings.write_text(f"[run]\ninclude =\n    {files}\ndata_file = {data}\n")
        plan = Plan(str(ROOT / "src"), str(folder / "results"))
        arguments = ["--cov", f"--cov-config={settings}", "--cov-context=test", "--cov-report="]
        arguments += ["-n", str(_WORKERS), "--dist", "loadgroup"]
        run = _pytest(folder, ROOT / "src", plan, [*arguments, *area.tests])
        results = read_results(Path(plan.results)) if Path(plan.results).exists() else []
        if not results or run.returncode not in (0, 1):
            raise BaselineFailed(run.stdout[-2000:])
        by_line = _tests_by_line(data, area)
    failed = [result.test for result in results if result.failure]
    seconds = {result.test: result.seconds for result in results if not result.failure}
    names = sorted(seconds, key=lambda name: (area.position(name), seconds[name]))
    return Baseline(area, {name: seconds[name] for name in names}, failed, by_line)


def judge(baseline: Baseline, file: Path, mutant: Mutant) -> Judgement:
    """Run the tests on a mutant until one fails twice, or hangs.

    The same test must then pass on the original: a busy machine kills nothing.
    """
    tests = baseline.tests_for(file, mutant.lines)
    if not tests:
        return Judgement(Verdict.SURVIVED, "no test runs this line")
    with _changed(file, mutant) as source, tempfile.TemporaryDirectory() as folder:
        run, results = _run(baseline, Path(folder), source, tests)
    if run is None:
        return Judgement(Verdict.UNCLEAR, f"the tests take longer than {_RUN_SECONDS} s")
    failed = next((result.test for result in results if result.failure), None)
    if failed is None:
        if run.returncode in (0, 5):
            return Judgement(Verdict.SURVIVED, f"{len(results)} tests pass")
        if run.returncode != _TIMED_OUT:
            # The process ended, or the module cannot be imported.
            return Judgement(Verdict.KILLED, f"pytest ends with status {run.returncode}")
        passed = {result.test for result in results}
        failed = next((name for name in tests if name not in passed), tests[-1])
    with tempfile.TemporaryDirectory() as folder:
        _, again = _run(baseline, Path(folder), ROOT / "src", [failed])
    if failed not in {result.test for result in again if not result.failure}:
        return Judgement(Verdict.UNCLEAR, f"fails without the change too: {failed}")
    return Judgement(Verdict.KILLED, failed)


def _run(
    baseline: Baseline, folder: Path, source: Path, tests: list[str]
) -> tuple[subprocess.CompletedProcess[str] | None, list[Result]]:
    limits = {
        name: _LIMIT_SECONDS + _LIMIT_FACTOR * seconds for name, seconds in baseline.seconds.items()
    }
    known = [*baseline.seconds, *baseline.failed]
    plan = Plan(str(source), str(folder / "results"), tests, limits, known)
    try:
        # A test that hangs ends the process, since its fixtures might hang too.
        arguments = ["-x", "-n", "0", "--timeout-method=thread", *baseline.area.tests]
        run = _pytest(folder, source, plan, arguments)
    except subprocess.TimeoutExpired:
        run = None
    results = Path(plan.results)
    return run, read_results(results) if results.exists() else []


def _pytest(
    folder: Path, source: Path, plan: Plan, arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    file = folder / "plan"
    plan.write(file)
    path = os.pathsep.join([str(source), str(ROOT)])
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.plugin"]
    # Failures are not shown, and rewritten asserts take longer to load than most tests to run.
    command += ["-p", "no:cacheprovider", "--assert=plain", *arguments]
    environment = {**os.environ, "PYTHONPATH": path, ENVIRONMENT: str(file)}
    # Otherwise each run compiles every module again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=_RUN_SECONDS,
    )


@contextmanager
def _changed(file: Path, mutant: Mutant) -> Iterator[Path]:
    """Copy the source, with the mutant in place of the module."""
    with tempfile.TemporaryDirectory(prefix="prism-mutant-") as folder:
        copied = Path(folder) / "src"
        shutil.copytree(ROOT / "src", copied)
        (copied / file.relative_to(ROOT / "src")).write_text(source_of(mutant, file.read_text()))
        yield copied


def _tests_by_line(data: Path, area: Area) -> dict[str, dict[int, set[str]]]:
    coverage = CoverageData(str(data))
    coverage.read()
    by_line: dict[str, dict[int, set[str]]] = {}
    for file in area.files():
        lines: dict[int, set[str]] = defaultdict(set)
        for line, contexts in coverage.contexts_by_lineno(str(file)).items():
            lines[line] = {name_of(each.rpartition("|")[0]) for each in contexts}
        by_line[str(file)] = lines
    return by_line


def _starts_processes(test: str) -> bool:
    return test.startswith("tests/integration")
