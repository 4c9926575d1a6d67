from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from deploy.grafana.promql import SERVER_ERRORS
from tests.monitoring.expressions import RULE_TESTS, Expression, of_rules, rules, selectors

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"
ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}

_HEADINGS = re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
_PARTS = ("**Meaning.**", "**Effect.**", "**How to look.**", "**What to do.**")


def fired_in_tests() -> dict[str, dict[str, str]]:
    """The labels of each alert that a test of promtool expects to fire."""
    files = (yaml.safe_load(path.read_text()) for path in RULE_TESTS.glob("*.yml"))
    cases = chain.from_iterable(
        case["promql_expr_test"] for file in files for case in file["tests"]
    )
    samples = chain.from_iterable(case.get("exp_samples", ()) for case in cases)
    labels = (dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in samples)
    return {each["alertname"]: each for each in labels if each.get("alertstate") == "firing"}


FIRED = fired_in_tests()


def test_each_alert_has_its_heading_in_the_runbook_and_no_heading_is_left_over() -> None:
    assert sorted(_HEADINGS) == sorted(ALERTS)


@pytest.mark.parametrize("name", _HEADINGS)
def test_a_heading_of_the_runbook_says_all_there_is_to_say(name: str) -> None:
    section = RUNBOOK.read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert [section.count(part) for part in _PARTS] == [1] * len(_PARTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_what_is_wrong_how_bad_it_is_and_where_to_read_on(name: str) -> None:
    annotations: dict[str, Any] = ALERTS[name]["annotations"]
    assert ALERTS[name]["labels"]["severity"] in ("critical", "warning")
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    assert annotations["runbook"] == f"docs/runbook.md#{name.lower()}"


def test_each_alert_fires_in_a_test_of_promtool() -> None:
    assert sorted(FIRED) == sorted(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_speaks_of_labels_that_it_has(name: str) -> None:
    said = " ".join(ALERTS[name]["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", said)) <= FIRED[name].keys()


@pytest.mark.parametrize("rule", list(of_rules()), ids=lambda each: each.place)
def test_a_rule_looks_at_prism_alone(rule: Expression) -> None:
    for selector in selectors(promql.parse(rule.text)):
        if not selector.metric.startswith("instance:"):
            assert 'job="prism"' in map(str, selector.matchers)


def test_dashboard_and_alerts_hold_the_same_codes_against_the_server() -> None:
    failed = [rule["expr"] for rule in rules() if "failed_requests" in rule.get("record", "")]
    assert len(failed) == 2
    assert all(f'"{SERVER_ERRORS}"' in expression for expression in failed)
