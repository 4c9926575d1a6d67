"""The acceptance suite as a whole."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

from prism.ports import OPERATIONS
from prism.testing import AcceptanceSuite, group_of
from prism.testing.suite import GROUPS
from prism.testing.suite.operations import SAMPLES


def test_no_two_tests_have_the_same_name() -> None:
    names = Counter(
        name for cls in AcceptanceSuite.__mro__ for name in vars(cls) if name.startswith("test_")
    )
    assert [name for name, count in names.items() if count > 1] == []


def test_every_operation_has_a_sample_call() -> None:
    assert {sample.spec.name for sample in SAMPLES} == set(OPERATIONS)


def test_every_test_belongs_to_a_group() -> None:
    tests = [name for name in dir(AcceptanceSuite) if name.startswith("test_")]
    found = {group_of(getattr(AcceptanceSuite, name)) for name in tests}
    assert found == set(GROUPS)


def test_every_test_is_a_coroutine_with_an_explicit_mark() -> None:
    # An author's project then needs no setting of pytest-asyncio.
    unmarked = [
        name
        for name in dir(AcceptanceSuite)
        if name.startswith("test_")
        and "asyncio" not in {mark.name for mark in getattr(AcceptanceSuite, name).pytestmark}
    ]
    assert unmarked == []


def test_the_suite_depends_on_the_ports_alone() -> None:
    code = "import sys, prism.testing; print(*sys.modules)"
    modules = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    roots = ("prism.adapters", "prism.bootstrap", "prism.domain", "prism.v1")
    assert [name for name in modules if name == "grpc" or name.startswith(roots)] == []
