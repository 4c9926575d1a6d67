"""The pages name only targets that the Makefile has; docs/testing.md explains every test target."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.integration.documentation.pages import ROOT

PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
TARGETS = re.findall(r"^([a-z][a-z-]*):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE)
TESTS = re.compile(r"test|coverage|check|ci|compliance|suite|bench|docs|.*-check")


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)
def test_every_target_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"(?:`|^|\$ )make ([a-z][a-z-]+)", page.read_text(), re.MULTILINE)
    internal = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(named) <= {*TARGETS, *internal}


def test_every_test_target_is_explained() -> None:
    page = (ROOT / "docs" / "testing.md").read_text()
    assert [t for t in TARGETS if TESTS.match(t) and f"`make {t}`" not in page] == []
