"""Tables and charts of the documentation, made from the JSON of a run."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from benchmarks import report, rows
from benchmarks.charts import CHARTS, axis_steps
from benchmarks.report import TABLES, full_table, short_table, write_documentation
from prism.testing.markdown_block import replace_block
from tests.unit.bench.sample_run import IN_README, RUN, row

SVG = "{http://www.w3.org/2000/svg}"
PAGE = "# Speed\n\n<!-- benchmark -->\nold table\n<!-- /benchmark -->\n\nMore text.\n"


@pytest.fixture(autouse=True)
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "IN_README", IN_README)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "docs" / "pictures").mkdir(parents=True)
    for page in TABLES:
        (tmp_path / page).write_text(PAGE)
    return tmp_path


def test_the_short_table_has_some_comparisons_in_words() -> None:
    assert short_table(RUN).splitlines() == [
        "|  | speed |",
        "| --- | --- |",
        "| F | 1,234 × the calls of g |",
        "| A | 8.39 × the calls of b |",
    ]


def test_the_readme_describes_rows_that_exist() -> None:
    assert set(rows.IN_README) <= {row.name for row in rows.ROWS}


def test_the_full_table_has_every_row_with_bounds_and_the_machine() -> None:
    table = full_table(RUN)
    assert "| more is better | speed | at least | aim |" in table
    assert "| a | 8.39 × b | 0.5 | 4 |" in table
    assert "| less is better | figure | at most | aim |" in table
    assert "| seconds of h | 0.31 | 0.5 | 4 |" in table
    for part in (
        "2001-02-03",
        "5 rounds of 2 s",
        "used at most 4%",
        "Python 3.11.0",
        "prism 0.1.0",
    ):
        assert part in table


def test_a_row_that_misses_its_floor_says_so_in_both_tables() -> None:
    missing = {**RUN, "rows": [row("a", "b", 0.42), row("h", "", 0.6, less_is_better=True)]}
    table = full_table(missing)
    assert "| a | 0.42 × b **misses** | 0.5 | 4 |" in table
    assert "| h | 0.60 **misses** | 0.5 | 4 |" in table
    assert short_table(missing).endswith("| A | 0.42 × the calls of b **misses** |")


@pytest.mark.parametrize(
    ("figure", "text"), [(0.8312, "0.83"), (9.5, "9.50"), (58.12, "58.1"), (1234.6, "1,235")]
)
def test_a_ratio_has_three_significant_digits(figure: float, text: str) -> None:
    table = short_table({"rows": [row("a", "b", figure)]})
    assert table.endswith(f"| A | {text} × the calls of b |")


@pytest.mark.parametrize("name", CHARTS)
def test_a_chart_has_both_colour_schemes_a_title_and_a_description(name: str) -> None:
    text = CHARTS[name](RUN)
    root = ElementTree.fromstring(text)
    assert root.findtext(f"{SVG}title")
    assert root.findtext(f"{SVG}desc")
    assert "prefers-color-scheme: dark" in text
    assert not re.search(r"@import|@font-face|href=|url\((?!#)|<script|<!--", text)


@pytest.mark.parametrize("name", CHARTS)
def test_the_same_run_gives_the_same_chart(name: str) -> None:
    assert CHARTS[name](RUN) == CHARTS[name](json.loads(json.dumps(RUN)))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bench-throughput.svg", ["a: 8.39 × b", "c &amp; d: 0.75 × e", "at least"]),
        ("bench-latency.svg", ["25,000/s", "ours, p50", "theirs, p99", "calls in flight"]),
        ("bench-keys.svg", ["1,000 keys: 1.00", "1,000,000 keys: 0.90"]),
    ],
)
def test_a_chart_shows_what_was_measured(name: str, parts: list[str]) -> None:
    text = CHARTS[name](RUN)
    assert [part for part in parts if part not in text] == []


def test_a_figure_without_a_peer_has_no_bar() -> None:
    assert "seconds of h" not in CHARTS["bench-throughput.svg"](RUN)


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (0.6, 30, [0.5, 1, 2, 5, 10, 20, 50]),
        (3, 8, [1, 2, 5, 10]),
        (0.03, 0.4, [0.02, 0.05, 0.1, 0.2, 0.5, 1]),
        (1, 1, [1]),
    ],
)
def test_an_axis_includes_its_figures_and_one(
    least: float, most: float, expected: list[float]
) -> None:
    assert axis_steps(least, most) == expected


def test_only_the_blocks_of_the_pages_change(folder: Path) -> None:
    write_documentation(RUN, folder)
    for page, table in TABLES.items():
        text = (folder / page).read_text()
        assert text == PAGE.replace("old table", table(RUN))


def test_writing_again_changes_nothing(folder: Path) -> None:
    written = write_documentation(RUN, folder)
    once = [path.read_bytes() for path in written]
    assert [path.read_bytes() for path in write_documentation(RUN, folder)] == once
    assert {path.name for path in written} > set(CHARTS)


def test_an_incomplete_run_is_not_written(folder: Path) -> None:
    with pytest.raises(ValueError, match="only a complete run"):
        write_documentation({**RUN, "complete": False}, folder)
    assert not any((folder / "docs" / "pictures").iterdir())


def test_nothing_is_written_where_a_page_has_no_block(folder: Path) -> None:
    (folder / "README.md").write_text("<!-- benchmark --> without an end")
    with pytest.raises(ValueError, match="expected <!-- benchmark --> followed by <!-- /benchmark"):
        write_documentation(RUN, folder)
    assert (folder / "docs" / "performance.md").read_text() == PAGE
    assert not any((folder / "docs" / "pictures").iterdir())


def test_marks_of_another_name_are_left_alone() -> None:
    text = "<!-- a -->\n1\n<!-- /a -->\n<!-- b -->\n2\n<!-- /b -->\n"
    assert replace_block(text, "b", "3") == text.replace("2", "3")


@pytest.mark.parametrize("page", TABLES)
def test_the_pages_have_a_place_for_the_table(page: str) -> None:
    text = (Path(__file__).parents[3] / page).read_text()
    assert "of now" in replace_block(text, "benchmark", "of now")
