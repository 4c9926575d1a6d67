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
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from typing import Self

from coverage import CoverageData

from tests.mutants.areas import ROOT, Area
from tests.mutants.forks import NOT_IN_FUNCTIONS, Forks
from tests.mutants.mutations import Mutant, source_of
from tests.mutants.plugin import ENVIRONMENT, Plan, Result, name_of, read_results

# A test may take this much longer on a mutant, because the machine may be busy.
_LIMIT_FACTOR = 10
_LIMIT_SECONDS = 20.0
_RUN_SECONDS = 1800
_ATTEMPTS = 3
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

        Tests whose own processes may run them come last, because which lines run there is unknown.
        """
        if self.runs_at_import(file, lines):
            return list(self.seconds)
        ran = self.tests_by_line.get(str(file), {})
        names = set().union(*(ran.get(line, set()) for line in lines))
        near = [name for name in self.seconds if name in names]
        others = (name for name in self.seconds if name not in names)
        return [*near, *(name for name in others if name.startswith(self.area.elsewhere))]

    def runs_at_import(self, file: Path, lines: Iterable[int]) -> bool:
        """Return whether one of these lines runs before any test does."""
        ran = self.tests_by_line.get(str(file), {})
        return any("" in ran.get(line, ()) for line in lines)


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
        # A test that fails runs twice within its limit.
        arguments += ["-n", str(_WORKERS), "--dist", "loadgroup", f"--timeout={_RUN_SECONDS}"]
        run = _pytest(plan, [*arguments, *area.tests])
        results = read_results(Path(plan.results)) if Path(plan.results).exists() else []
        if not results or run.returncode not in (0, 1):
            raise BaselineFailed(run.stdout[-2000:])
        by_line = _tests_by_line(data, area)
    failed = [result.test for result in results if result.failure]
    seconds = {result.test: result.seconds for result in results if not result.failure}
    names = sorted(seconds, key=lambda name: (area.position(name), seconds[name]))
    return Baseline(area, {name: seconds[name] for name in names}, failed, by_line)


class Judge:
    """Judges the mutants of an area, several at a time; a context manager."""

    def __init__(self, baseline: Baseline) -> None:
        self._baseline = baseline
        self._folder = tempfile.TemporaryDirectory(prefix="prism-mutants-")
        self._forks = Forks(self._collect)

    def __enter__(self) -> Self:
        try:
            self._forks.__enter__()
        except RuntimeError as error:
            raise BaselineFailed((Path(self._folder.name) / "output").read_text()) from error
        return self

    def __exit__(self, *error: object) -> None:
        self._forks.__exit__(None, None, None)
        self._folder.cleanup()

    def judge(self, file: Path, mutant: Mutant) -> Judgement:
        """Run the tests on a mutant until one fails twice, or hangs.

        The same test must then pass on the original and fail on the mutant again: a busy machine
        kills nothing. A test that does not says nothing about this mutant: the others judge it.
        """
        tests = self._baseline.tests_for(file, mutant.lines)
        if not tests:
            return Judgement(Verdict.SURVIVED, "no test runs this line")
        for _ in range(_ATTEMPTS):
            judgement, test = self._judge_by(file, mutant, tests)
            if judgement.verdict is not Verdict.UNCLEAR:
                break
            tests = [name for name in tests if name != test]
        return judgement

    def _judge_by(self, file: Path, mutant: Mutant, tests: list[str]) -> tuple[Judgement, str]:
        """Return the judgement of these tests, and the name of one that failed."""
        status, results = self._run_on(file, mutant, tests)
        if status is None:
            return Judgement(Verdict.UNCLEAR, f"the tests take longer than {_RUN_SECONDS} s"), ""
        failed = next((result.test for result in results if result.failure), "")
        if not failed:
            if status in (0, 5):
                return Judgement(Verdict.SURVIVED, f"{len(results)} tests pass"), ""
            if status != _TIMED_OUT:
                # The process ended, or the module cannot be imported.
                return Judgement(Verdict.KILLED, f"pytest ends with status {status}"), ""
            passed = {result.test for result in results}
            failed = next((name for name in tests if name not in passed), tests[-1])
        if failed not in self._passed_on_original(failed):
            return Judgement(Verdict.UNCLEAR, f"fails without the change too: {failed}"), failed
        _, again = self._run_on(file, mutant, [failed])
        if failed in {result.test for result in again if not result.failure}:
            return Judgement(Verdict.UNCLEAR, f"fails only sometimes: {failed}"), failed
        return Judgement(Verdict.KILLED, failed), failed

    def _passed_on_original(self, test: str) -> set[str]:
        with self._plan(ROOT / "src", [test]) as plan:
            self._forks.run(plan, _RUN_SECONDS)
            return {
                result.test for result in read_results(Path(plan.results)) if not result.failure
            }

    def _run_on(
        self, file: Path, mutant: Mutant, tests: list[str]
    ) -> tuple[int | None, list[Result]]:
        with _changed(file, mutant) as source, self._plan(source, tests) as plan:
            status: int | None = NOT_IN_FUNCTIONS
            if not self._baseline.runs_at_import(file, mutant.lines):
                in_memory = replace(plan, file=str(file), mutant=mutant.index)
                status = self._forks.run(in_memory, _RUN_SECONDS)
            if status == NOT_IN_FUNCTIONS:
                status = self._run_process(plan)
            return status, read_results(Path(plan.results))

    def _run_process(self, plan: Plan) -> int | None:
        try:
            # A test that hangs ends the process, since its fixtures might hang too.
            arguments = ["-x", "-n", "0", "--timeout-method=thread", *self._baseline.area.tests]
            return _pytest(plan, arguments).returncode
        except subprocess.TimeoutExpired:
            return None

    def _collect(self, socket: Path) -> subprocess.Popen[bytes]:
        """Start the process that forks."""
        files = list(map(str, self._baseline.area.files()))
        plan = Plan(str(ROOT / "src"), "", socket=str(socket), files=files)
        arguments = ["-p", "tests.mutants.forks", "-x", "-n", "0", "--timeout-method=thread"]
        command, environment = _command(plan, Path(self._folder.name) / "plan")
        with (Path(self._folder.name) / "output").open("wb") as output:
            return subprocess.Popen(
                [*command, *arguments, *self._baseline.area.tests],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    @contextmanager
    def _plan(self, source: Path, tests: list[str]) -> Iterator[Plan]:
        limits = {
            name: _LIMIT_SECONDS + _LIMIT_FACTOR * seconds
            for name, seconds in self._baseline.seconds.items()
        }
        known = [*self._baseline.seconds, *self._baseline.failed]
        with tempfile.NamedTemporaryFile(dir=self._folder.name, suffix=".results") as results:
            yield Plan(str(source), results.name, tests, limits, known)


def _pytest(plan: Plan, arguments: list[str]) -> subprocess.CompletedProcess[str]:
    with tempfile.NamedTemporaryFile(suffix=".plan") as file:
        command, environment = _command(plan, Path(file.name))
        return subprocess.run(
            [*command, *arguments],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_RUN_SECONDS,
        )


def _command(plan: Plan, file: Path) -> tuple[list[str], dict[str, str]]:
    """Return the command that runs a plan, and its environment; the plan is written to the file."""
    plan.write(file)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.mutants.plugin"]
    # Failures are not shown, and rewritten asserts take longer to load than most tests to run.
    command += ["-p", "no:cacheprovider", "--assert=plain"]
    path = os.pathsep.join([plan.source, str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, ENVIRONMENT: str(file)}
    # Otherwise each run compiles every module again.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return command, environment


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
