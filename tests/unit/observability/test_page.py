"""The page: escaping, redaction, structure, and what loads it."""

from __future__ import annotations

import html
import re
import subprocess
import sys
from collections.abc import Iterable, Sequence
from html.parser import HTMLParser

import pytest

from prism.adapters.observability.page.page import (
    Badge,
    Chart,
    ColumnKind,
    Facts,
    Headline,
    MakeSection,
    Section,
    StatusPage,
    Table,
    Tone,
)
from prism.domain.redaction import Redactor
from tests.unit.observability.conftest import Build

HOSTILE = """</td><script>alert(1)</script><img src=x onerror="alert(2)">'&"""
FORBIDDEN_ELEMENTS = {"script", "img", "iframe", "object", "form"}


class Reader(HTMLParser):
    """Collects elements and the text between them."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


async def read(
    *blocks: Facts | Table | Chart,
    headline: Headline | None = None,
    secrets: Iterable[str] = (),
    refreshing: bool = False,
    **sections: MakeSection,
) -> Reader:
    shown = headline or Headline("fake 1.0", Badge("running", Tone.GOOD), "")
    all_sections = {"First": lambda: Section(blocks), **sections}
    page = StatusPage(lambda: shown, all_sections, Redactor(secrets))
    reader = Reader()
    reader.feed(page.render(refreshing=refreshing).decode())
    return reader


def table(*cells: str) -> Table:
    columns = [("Name", ColumnKind.NAME), ("Text", ColumnKind.VERBATIM)]
    return Table("A caption", columns, [cells] if cells else [], "Nothing here.")


@pytest.mark.parametrize(
    "blocks",
    [
        [Facts([(HOSTILE, HOSTILE)])],
        [Facts([("marked", Badge(HOSTILE, Tone.BAD))])],
        [table("row", HOSTILE), table(HOSTILE, "")],
        [Table(HOSTILE, [(HOSTILE, ColumnKind.WORDS)], [[HOSTILE]], "")],
        [Table("", [], [], HOSTILE)],
        [Chart(HOSTILE, [1.0], 2)],
    ],
)
async def test_hostile_text_is_escaped_everywhere(
    blocks: Sequence[Facts | Table | Chart],
) -> None:
    reader = await read(*blocks)
    assert HOSTILE in reader.text
    assert FORBIDDEN_ELEMENTS.isdisjoint(reader.elements)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]


async def test_a_hostile_headline_is_escaped() -> None:
    headline = Headline(HOSTILE, Badge("failed", Tone.BAD), HOSTILE)
    reader = await read(headline=headline)
    assert reader.text.count(HOSTILE) == 3  # the title has it too
    assert FORBIDDEN_ELEMENTS.isdisjoint(reader.elements)


async def test_invisible_characters_are_escaped() -> None:
    reader = await read(table("row", "a\x00b\x1b[31m\n\u202egnp.exe\ud800"))
    assert r"a\x00b\x1b[31m\n\u202egnp.exe\ud800" in reader.text


async def test_a_long_text_is_cut() -> None:
    reader = await read(table("row", "x" * 100_000))
    longest = max(re.findall("x+…", reader.text), key=len)
    assert len(longest) == 600


async def test_a_secret_is_redacted_everywhere() -> None:
    secret = "<p4ss&word>"
    facts, rows = Facts([("name", secret)]), table("row", f"redis://user:hidden@{secret}")
    headline = Headline("fake", Badge("failed", Tone.BAD), f"no {secret}")
    reader = await read(facts, rows, headline=headline, secrets=[secret])
    assert "***" in reader.text
    for planted in (secret, html.escape(secret), "p4ss", "hidden"):
        assert planted not in reader.text
        assert not [value for _, value in reader.attributes if value and planted in value]


async def test_a_password_that_is_a_common_word_hides_no_word_of_the_page() -> None:
    words = ["Name", "Text", "failed", "caption", "section", "running"]
    facts, rows = Facts([("running", Badge("running", Tone.GOOD))]), table("running", "x running")
    headline = Headline("fake", Badge("failed", Tone.BAD), "")
    reader = await read(facts, rows, headline=headline, secrets=words)
    assert reader.text.count("***") == 1
    assert "x ***" in reader.text


async def test_a_secret_is_redacted_before_the_text_is_cut() -> None:
    reader = await read(table("row", "x" * 595 + "pass-planted"), secrets=["pass-planted"])
    assert "pass" not in reader.text


async def test_a_failing_section_leaves_the_other_sections(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> Section:
        raise ZeroDivisionError("an internal detail")

    reader = await read(Facts([("name", "value")]), Broken=broken)
    assert "value" in reader.text
    assert "This section failed: ZeroDivisionError." in reader.text
    assert "internal detail" not in reader.text
    assert "'Broken'" in caplog.text


async def test_a_table_without_rows_shows_its_sentence_instead() -> None:
    reader = await read(table())
    assert "Nothing here." in reader.text
    assert "table" not in reader.elements


async def test_tables_are_marked_up_for_screen_readers() -> None:
    reader = await read(table("row", "text"))
    assert reader.elements.count("caption") == 1
    assert [value for name, value in reader.attributes if name == "scope"] == ["col", "col", "row"]
    assert ("lang", "en") in reader.attributes


async def test_the_page_reloads_itself_only_on_request() -> None:
    refreshed = ("http-equiv", "refresh")
    assert refreshed not in (await read()).attributes
    assert refreshed in (await read(refreshing=True)).attributes


async def test_the_title_shows_the_state(build: Build) -> None:
    assembly = build()
    page = assembly.container.page()

    def document() -> str:
        rendered: bytes = page.render()
        return rendered.decode()

    assert "<title>created · memstore 0.1.0 · Prism</title>" in document()
    await assembly.run()
    assert "<title>running · memstore 0.1.0 · Prism</title>" in document()
    await assembly.lifecycle.stop()
    assert "<title>stopped · memstore 0.1.0 · Prism</title>" in document()


def test_the_page_is_not_loaded_before_it_is_opened() -> None:
    code = "import sys, prism.bootstrap.container; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "prism.adapters.observability.page.history" in loaded
    assert loaded.isdisjoint({"jinja2", "prism.adapters.observability.page.page"})
