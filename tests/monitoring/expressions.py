"""Every expression of the dashboard and of the alerts, and what it names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser as promql
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboard.json"
CONFIGURATION = DEPLOY / "prometheus" / "prometheus.yml"
RULES = DEPLOY / "prometheus" / "alerts.yml"
RULE_TESTS = DEPLOY / "prometheus" / "tests"

# As Grafana puts them in where everything is chosen.
_CHOSEN = {
    "$job": "prism",
    "$instance": ".*",
    "$driver": ".*",
    "$percentile": "0.99",
    "$__rate_interval": "5m",
    "$__range": "15m",
}


class Expression(NamedTuple):
    """An expression, and where it stands.

    Attributes:
        text: with values for the variables of Grafana.
        legend: label names that the legend, or a table's columns, show.
    """

    place: str
    text: str
    legend: frozenset[str] = frozenset()


class Selector(NamedTuple):
    """What is picked of one metric."""

    metric: str
    matchers: tuple[promql.Matcher, ...]


def of_dashboard() -> Iterator[Expression]:
    """Of its panels and its annotations."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            legend = frozenset(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
            shown = legend | _columns(panel)
            yield Expression(f"{panel['title']}, {target['refId']}", fill(target["expr"]), shown)
    for annotation in dashboard["annotations"]["list"]:
        yield Expression(annotation["name"], fill(annotation["expr"]))


def of_variables() -> Iterator[tuple[str, str, str]]:
    """Of each variable that asks Prometheus: its name, the selector, and the label."""
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert asked is not None, f"${variable['name']} asks in another way"
            yield variable["name"], fill(asked[1]), asked[2]


def rules() -> list[dict[str, Any]]:
    """All rules, recording ones and alerts, as they stand in the file."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def of_rules() -> Iterator[Expression]:
    return (Expression(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules())


def fill(text: str) -> str:
    """The text with a value for each variable of Grafana."""
    for name in sorted(_CHOSEN, key=len, reverse=True):
        text = text.replace(name, _CHOSEN[name])
    return text


def selectors(expression: promql.Expr) -> list[Selector]:
    """All selectors below a node of a parsed expression."""
    found: list[Selector] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            assert node.name is not None, f"{node} names no metric"
            found.append(Selector(node.name, tuple(node.matchers.matchers)))

    _each(expression, visit)
    return found


def groupings(expression: promql.Expr) -> list[tuple[frozenset[str], list[Selector]]]:
    """Labels that are grouped or joined by, each with the selectors that have to have them."""
    found: list[tuple[frozenset[str], list[Selector]]] = []

    def visit(node: promql.Expr) -> None:
        labels: list[str] = []
        if isinstance(node, promql.AggregateExpr) and node.modifier is not None:
            labels = node.modifier.labels
        elif isinstance(node, promql.BinaryExpr) and node.modifier is not None:
            labels = [*(node.modifier.group_labels or ())]
            if node.modifier.matching is not None:
                labels += node.modifier.matching.labels
        if labels:
            found.append((frozenset(labels), selectors(node)))

    _each(expression, visit)
    return found


def _each(expression: promql.Expr, visit: Any) -> None:
    def also_ranges(node: promql.Expr) -> None:
        visit(node)
        if isinstance(node, promql.MatrixSelector):
            visit(node.vector_selector)

    promql.walk(expression, also_ranges)


def _columns(panel: dict[str, Any]) -> frozenset[str]:
    """Labels that a table shows."""
    return frozenset(
        name
        for each in panel.get("transformations", ())
        if each["id"] == "organize"
        for name in each["options"]["renameByName"]
    ) - {"Value"}
