"""The recipes of CONTRIBUTING.md can be followed, and each has ten steps at most."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from tests.integration.documentation.pages import ROOT, blocks
from tests.unmeasured import unmeasured

GUIDE = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = dict(re.findall(r"^## (Add [^\n]+)\n(.*?)(?=^## |\Z)", GUIDE, re.MULTILINE | re.DOTALL))
PATH = re.compile(r"`((?:src|proto|tests|deploy|docs)/[\w./-]*|pyproject\.toml)`")


def steps(recipe: str) -> list[str]:
    return re.findall(r"^\d+\. .*(?:\n {3,}.*)*", RECIPES[recipe], re.MULTILINE)


def test_there_are_three_recipes() -> None:
    assert list(RECIPES) == ["Add a backend", "Add an operation", "Add a metric"]


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_recipe_names_is_there(recipe: str) -> None:
    assert 0 < len(steps(recipe)) <= 10
    text = "\n".join(steps(recipe))
    paths = PATH.findall(text)
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []
    for target in re.findall(r"`make ([\w-]+)`", text):
        subprocess.run(["make", "--dry-run", target], cwd=ROOT, check=True, capture_output=True)


def test_names_in_the_recipe_of_a_backend_are_prisms_own() -> None:
    names = re.findall(r"`(prism\.(?:ports|testing)[\w.]*)`", RECIPES["Add a backend"])
    assert "prism.ports.DriverSpec" in names
    for name in names:
        parent, _, child = name.rpartition(".")
        module = importlib.import_module(parent)
        assert hasattr(module, child), name
    assert entry_points(group="prism.drivers")


def test_the_operation_to_follow_is_in_every_file_that_is_named() -> None:
    named = PATH.findall(RECIPES["Add an operation"])
    assert len(named) >= 10
    assert [path for path in named if "persist" not in (ROOT / path).read_text().lower()] == []


def test_a_metric_that_is_added_so_is_scraped(tmp_path: Path) -> None:
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
container.admission().close("to be counted")
print(container.metrics().render("")[1].decode())
"""
    scraped = subprocess.run(
        [sys.executable, "-c", scrape],
        env={**unmeasured(), "PYTHONPATH": str(tmp_path / "src")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "\nprism_admission_closings_total 1.0\n" in scraped.stdout


def test_the_hooks_mend_what_is_committed(tmp_path: Path) -> None:
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
