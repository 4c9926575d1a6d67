"""The documentation site: strict build, no external resources, complete reference."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from prism.bootstrap import discovery
from prism.bootstrap.options import driver_options, server_options
from prism.bootstrap.proxy.settings import ProxySettings
from tests.integration.documentation.pages import ROOT

# One worker builds the site once.
pytestmark = pytest.mark.xdist_group("site")

PICTURES = sorted((ROOT / "docs" / "pictures").glob("*.svg"))
EXTERNAL = re.compile(r"""<(?:script|link|img)[^>]+(?:src|href)="(?:https?:)?//[^"]+""")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_built(site: Path) -> None:
    for page in (ROOT / "docs").glob("*.md"):
        name = page.stem if page.stem != "index" else ""
        assert (site / name / "index.html").exists(), page


def test_no_page_loads_external_resources(site: Path) -> None:
    for page in site.rglob("*.html"):
        found = [tag for tag in EXTERNAL.findall(page.read_text()) if 'rel="canonical"' not in tag]
        assert found == [], page


def test_the_reference_has_every_flag_of_server_proxy_and_drivers(site: Path) -> None:
    page = (site / "reference" / "settings" / "index.html").read_text()
    options = [*server_options(), *server_options(ProxySettings)]
    for name in ("memstore", "redis", "nats", "sqlite", "remote"):
        options += driver_options(discovery.load(name))
    flags = {option.flag for option in options} | {"--pattern", "--config"}
    assert [flag for flag in sorted(flags) if f"<code>{flag}</code>" not in page] == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_relative_links_of_a_page_exist(page: str) -> None:
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", (ROOT / page).read_text())
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_has_both_colour_schemes_a_title_and_a_description(picture: Path) -> None:
    text = picture.read_text()
    root = ElementTree.fromstring(text)
    name = "{http://www.w3.org/2000/svg}"
    assert root.findtext(f"{name}title")
    assert root.findtext(f"{name}desc")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"@import|@font-face|href=|url\((?!#)", text)
