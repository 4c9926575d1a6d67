"""The recipes of CONTRIBUTING.md are correct and complete."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.environment import environment_without_coverage
from tests.integration.documentation.pages import ROOT, blocks

GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = dict(re.findall(r"^## (Add [^\n]+)\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL))
PATH = re.compile(r"`((?:src|proto|tests|deploy|docs|examples)/[\w./-]*|pyproject\.toml)`")

PERSIST = re.compile(r"(?<![a-z])persist(?:ed)?(?![a-z])", re.IGNORECASE)
NOT_IN_THE_RECIPE = {
    "src/prism/adapters/redis/watch.py": "says that persist causes no event",
    "src/prism/adapters/redis/permissions.py": "names commands of Redis: only a new one changes it",
    "src/prism/testing/suite/watch.py": "tests that persist causes no event",
    "src/prism/testing/suite/watch_expiry.py": "tests that a persisted key is not reported expired",
    "src/prism/testing/suite/expired.py": "tests each operation on an expired key",
    "src/prism/testing/suite/histories/history.py": "describes a step of a recorded history",
    "src/prism/testing/suite/shared_store.py": "tests operations of several backends on one store",
    "src/prism/testing/suite/ttl_writes.py": "tests that every read shows a removed ttl",
    "src/prism/testing/suite/every_operation.py": "calls each operation while the server is away",
    "src/prism/adapters/resp/overlay.py": "shows the writes of a transaction before they are sent",
    "src/prism/adapters/resp/commands/strings.py": "removes a ttl as a command of Redis asks",
    "src/prism/adapters/resp/commands/expiry.py": "serves the command PERSIST of Redis",
    "src/prism/testing/suite/linearizability.py": "tests increments beside persist",
    "src/prism/testing/suite/cancellation.py": "tests each operation after a cancelled one",
}
"""Files with the word persist that need no change for a new operation."""


def steps(recipe: str) -> list[str]:
    return re.findall(r"^\d+\. .*(?:\n {3,}.*)*", RECIPES[recipe], re.MULTILINE)


def test_there_are_three_recipes() -> None:
    assert list(RECIPES) == ["Add a backend", "Add an operation", "Add a metric"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_paths_and_targets_of_a_recipe_exist(recipe: str) -> None:
    assert 0 < len(steps(recipe)) <= 10
    text = "\n".join(steps(recipe))
    paths = PATH.findall(text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for target in re.findall(r"`make ([\w-]+)`", text):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_the_names_in_the_recipe_of_a_backend_exist() -> None:
    names = re.findall(r"`(prism\.(?:ports|kit|testing)[\w.]*)`", RECIPES["Add a backend"])
    assert "prism.ports.DriverSpec" in names
    for name in names:
        parent, _, child = name.rpartition(".")
        assert hasattr(importlib.import_module(parent), child) or find_spec(name), name
    assert entry_points(group="prism.drivers")


def test_the_recipe_of_an_operation_names_the_files_that_contain_the_example() -> None:
    named = set(PATH.findall(RECIPES["Add an operation"]))
    assert len(named) <= 25
    assert [path for path in named if not PERSIST.search((ROOT / path).read_text())] == []
    sources = {path.relative_to(ROOT).as_posix(): path for path in ROOT.glob("src/prism/**/*.py")}
    with_example = {
        name
        for name, path in sources.items()
        if not name.startswith("src/prism/v1/") and PERSIST.search(path.read_text())
    }
    assert with_example - named == set(NOT_IN_THE_RECIPE)


def test_the_metric_of_the_recipe_is_scraped(tmp_path: Path) -> None:
    (change,) = (block.text for block in blocks("CONTRIBUTING.md") if block.language == "diff")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run(
        ["git", "apply", "--verbose", "-"], cwd=tmp_path, input=change, text=True, check=True
    )
    scrape = """
from prism.adapters.memstore import DRIVER
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings

container = Container(configuration=Configuration(ServeSettings(), DRIVER, {}))
container.common.admission().close("to be counted")
print(container.common.metrics().render("")[1].decode())
"""
    scraped = subprocess.run(
        [sys.executable, "-c", scrape],
        env={**environment_without_coverage(), "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\nprism_admission_closings_total 1.0\n" in scraped.stdout


def test_the_commit_hooks_format_the_code(tmp_path: Path) -> None:
    for name in (".pre-commit-config.yaml", "pyproject.toml", "buf.yaml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    untidy = tmp_path / "untidy.py"
    untidy.write_text("import sys,os\nprint( sys.path )\n")

    def git(*args: str) -> None:
        subprocess.run(["git", *args], cwd=tmp_path, check=True, capture_output=True)

    git("init", "--quiet")
    git("add", ".pre-commit-config.yaml", "untidy.py")
    hooks = subprocess.run(
        [sys.executable, "-m", "pre_commit", "run"],
        cwd=tmp_path,
        env={**os.environ, "PRE_COMMIT_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert hooks.returncode == 1, hooks.stdout
    assert untidy.read_text() == "import sys\n\nprint(sys.path)\n", hooks.stdout
