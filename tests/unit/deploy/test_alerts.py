from __future__ import annotations

import re
from itertools import chain
from pathlib import Path
from typing import Any

import promql_parser as promql
import pytest
import yaml

from deploy.grafana.promql import SERVER_ERRORS
from tests.monitoring.expressions import RULE_TESTS, Expression, rule_expressions, rules, selectors

RUNBOOK = Path(__file__).parents[3] / "docs" / "runbook.md"
ALERTS = {rule["alert"]: rule for rule in rules() if "alert" in rule}

_HEADINGS = re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
_PARTS = ("**Meaning.**", "**Effect.**", "**Diagnosis.**", "**Action.**")


def fired_in_tests() -> dict[str, dict[str, str]]:
    """Return the labels of each alert that a promtool test expects to fire."""
    files = (yaml.safe_load(path.read_text()) for path in RULE_TESTS.glob("*.yml"))
    cases = chain.from_iterable(
        case["promql_expr_test"] for file in files for case in file["tests"]
    )
    samples = chain.from_iterable(case.get("exp_samples", ()) for case in cases)
    labels = (dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"])) for sample in samples)
    return {each["alertname"]: each for each in labels if each.get("alertstate") == "firing"}


FIRED = fired_in_tests()


def test_runbook_headings_and_alerts_correspond() -> None:
    assert sorted(_HEADINGS) == sorted(ALERTS)


@pytest.mark.parametrize("name", _HEADINGS)
def test_a_runbook_entry_has_all_four_parts(name: str) -> None:
    section = RUNBOOK.read_text(encoding="utf-8").split(f"\n## {name}\n")[1].split("\n## ")[0]
    assert [section.count(part) for part in _PARTS] == [1] * len(_PARTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_has_severity_summary_description_and_runbook(name: str) -> None:
    annotations: dict[str, Any] = ALERTS[name]["annotations"]
    assert ALERTS[name]["labels"]["severity"] in ("critical", "warning")
    assert annotations["summary"]
    assert annotations["description"].endswith(".")
    assert annotations["runbook"] == f"docs/runbook.md#{name.lower()}"


def test_each_alert_fires_in_a_promtool_test() -> None:
    assert sorted(FIRED) == sorted(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_s_texts_use_labels_that_it_has(name: str) -> None:
    texts = " ".join(ALERTS[name]["annotations"].values())
    assert set(re.findall(r"\$labels\.(\w+)", texts)) <= FIRED[name].keys()


@pytest.mark.parametrize("rule", list(rule_expressions()), ids=lambda each: each.place)
def test_a_rule_selects_only_prism_s_series(rule: Expression) -> None:
    for selector in selectors(promql.parse(rule.text)):
        if not selector.metric.startswith("instance:"):
            assert 'job="prism"' in map(str, selector.matchers)


def test_dashboard_and_alerts_share_the_server_s_status_codes() -> None:
    failed = [rule["expr"] for rule in rules() if "failed_requests" in rule.get("record", "")]
    assert len(failed) == 2
    assert all(f'"{SERVER_ERRORS}"' in expression for expression in failed)
