from __future__ import annotations

import json
from typing import Any

import promql_parser as promql
import pytest

from deploy.grafana.dashboard import text
from tests.monitoring.expressions import DASHBOARD, Expression, dashboard_expressions, selectors

PANELS: list[dict[str, Any]] = [
    panel for panel in json.loads(text())["panels"] if panel["type"] != "row"
]


def title_of(panel: dict[str, Any]) -> str:
    title: str = panel["title"]
    return title


def test_the_file_is_up_to_date_with_the_code() -> None:
    assert DASHBOARD.read_text(encoding="utf-8") == text(), "run 'make dashboard'"


def test_panels_have_unique_titles_and_numbers() -> None:
    rows = {panel["title"] for panel in json.loads(text())["panels"] if panel["type"] == "row"}
    titles = [panel["title"] for panel in PANELS]
    assert len(titles) == len(set(titles))
    assert not rows & set(titles)
    numbers = [panel["id"] for panel in PANELS]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("panel", PANELS, ids=title_of)
def test_a_panel_has_a_description_and_a_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith((".", "?"))
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"


def test_panels_fill_each_line_without_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {
            (at["x"] + right, at["y"] + down) for right in range(at["w"]) for down in range(at["h"])
        }
        assert not taken & cells
        assert at["x"] + at["w"] <= 24
        taken |= cells
    for line in {down for _, down in taken}:
        assert sum(down == line for _, down in taken) == 24


@pytest.mark.parametrize("shown", list(dashboard_expressions()), ids=lambda each: each.place)
def test_every_selector_uses_the_variables(shown: Expression) -> None:
    for selector in selectors(promql.parse(shown.text)):
        assert "job" in {matcher.name for matcher in selector.matchers}
