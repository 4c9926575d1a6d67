"""What the documentation shows of a run comes from its JSON, and from nothing else."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks.charts import CHARTS
from benchmarks.ink import steps_between
from benchmarks.pages import TABLES, draw
from benchmarks.tables import full_table, in_words, short_table
from prism.testing.markdown_block import replace_block
from tests.unit.bench.a_run import FIELDS

SVG = "{http://www.w3.org/2000/svg}"
PAGE = "# Speed\n\n<!-- benchmark -->\nof last year\n<!-- /benchmark -->\n\nMore text.\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    for page in TABLES:
        (tmp_path / page).write_text(PAGE)
    return tmp_path


def test_the_short_table_has_the_ratios_alone() -> None:
    assert short_table(FIELDS).splitlines() == [
        "|  | ratio |",
        "| --- | ---: |",
        "| a : b | 8.39 |",
        "| c & d : e | 0.75 |",
        "| f : g | 1,234 |",
    ]


def test_the_full_table_has_every_row_its_bounds_and_where_that_was_measured() -> None:
    table = full_table(FIELDS)
    assert "| more is better | ratio | at least | aim |" in table
    assert "| a : b | 8.39 | 0.5 | 4 |" in table
    assert "| less is better | figure | at most | aim |" in table
    assert "| seconds of h | 0.31 | 0.5 | 4 |" in table
    for part in ("2001-02-03", "5 rounds of 2 s", "others had 4%", "Python 3.11.0", "prism 0.1.0"):
        assert part in table


@pytest.mark.parametrize(
    ("figure", "told"), [(0.8312, "0.83"), (9.5, "9.50"), (58.12, "58.1"), (1234.6, "1,235")]
)
def test_a_figure_is_told_with_the_digits_that_it_is_worth(figure: float, told: str) -> None:
    assert in_words(figure) == told


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_is_for_light_and_dark_and_says_what_it_shows(name: str) -> None:
    text = CHARTS[name](FIELDS)
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"@import|@font-face|href=|url\((?!#)|<script|<!--", text)


@pytest.mark.parametrize("name", CHARTS)
def test_the_same_run_gives_the_same_chart(name: str) -> None:
    assert CHARTS[name](FIELDS) == CHARTS[name](json.loads(json.dumps(FIELDS)))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bench-throughput.svg", ["a : b = 8.39", "c &amp; d : e = 0.75", "at least"]),
        ("bench-latency.svg", ["25,000/s", "ours, p50", "theirs, p99", "calls in flight"]),
        ("bench-keys.svg", ["1,000 keys: 1.00", "1,000,000 keys: 0.90"]),
    ],
)
def test_a_chart_shows_what_was_measured(name: str, parts: list[str]) -> None:
    text = CHARTS[name](FIELDS)
    assert [part for part in parts if part not in text] == []


def test_what_is_no_ratio_is_not_among_the_bars() -> None:
    assert "seconds of h" not in CHARTS["bench-throughput.svg"](FIELDS)


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (0.6, 30, [0.5, 1, 2, 5, 10, 20, 50]),
        (3, 8, [1, 2, 5, 10]),
        (0.03, 0.4, [0.02, 0.05, 0.1, 0.2, 0.5, 1]),
        (1, 1, [1]),
    ],
)
def test_an_axis_goes_as_far_as_its_figures_and_has_one(
    least: float, most: float, expected: list[float]
) -> None:
    assert steps_between(least, most) == expected


def test_tables_go_between_the_marks_and_all_else_stays(folder: Path) -> None:
    draw(FIELDS, folder)
    for page, table in TABLES.items():
        text = (folder / page).read_text()
        assert text == PAGE.replace("of last year", table(FIELDS))


def test_drawing_again_changes_nothing(folder: Path) -> None:
    written = draw(FIELDS, folder)
    once = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in draw(FIELDS, folder)] == once
    assert {path.name for path in written} > set(CHARTS)


def test_a_run_of_a_part_is_not_drawn(folder: Path) -> None:
    with pytest.raises(ValueError, match="only what a run of everything"):
        draw({**FIELDS, "complete": False}, folder)
    assert not any((folder / "docs" / "pictures").iterdir())


def test_where_a_mark_is_missing_nothing_is_written(folder: Path) -> None:
    (folder / "README.md").write_text("<!-- benchmark --> and no end")
    with pytest.raises(ValueError, match="the marks are <!-- benchmark --> and <!-- /benchmark"):
        draw(FIELDS, folder)
    assert (folder / "docs" / "performance.md").read_text() == PAGE
    assert not any((folder / "docs" / "pictures").iterdir())


def test_marks_of_another_name_are_left_alone() -> None:
    text = "<!-- a -->\n1\n<!-- /a -->\n<!-- b -->\n2\n<!-- /b -->\n"
    assert replace_block(text, "b", "3") == text.replace("2", "3")


@pytest.mark.parametrize("page", TABLES)
def test_the_pages_have_a_place_for_the_table(page: str) -> None:
    text = (Path(__file__).parents[3] / page).read_text()
    assert "of now" in replace_block(text, "benchmark", "of now")
