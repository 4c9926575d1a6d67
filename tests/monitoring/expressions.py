"""The expressions of the dashboard and of the alerts, with the metrics and labels in them."""

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

# Values of the variables in Grafana when everything is selected.
_VARIABLES = {
    "$job": "prism",
    "$instance": ".*",
    "$driver": ".*",
    "$percentile": "0.99",
    "$__rate_interval": "5m",
    "$__range": "15m",
}


class Expression(NamedTuple):
    """PromQL expression.

    Attributes:
        place: panel or rule that contains it.
        text: expression with values for the variables of Grafana.
        legend: labels that the legend or the columns of a table show.
    """

    place: str
    text: str
    legend: frozenset[str] = frozenset()


class Selector(NamedTuple):
    """Selector of one metric."""

    metric: str
    matchers: tuple[promql.Matcher, ...]


def dashboard_expressions() -> Iterator[Expression]:
    """Yield the expressions of panels and annotations."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel.get("targets", ()):
            legend = frozenset(re.findall(r"{{(\w+)}}", target.get("legendFormat", "")))
            shown = legend | _columns(panel)
            yield Expression(f"{panel['title']}, {target['refId']}", fill(target["expr"]), shown)
    for annotation in dashboard["annotations"]["list"]:
        yield Expression(annotation["name"], fill(annotation["expr"]))


def variables() -> Iterator[tuple[str, str, str]]:
    """Yield name, selector and label of each variable that queries Prometheus."""
    for variable in json.loads(DASHBOARD.read_text())["templating"]["list"]:
        if variable["type"] == "query":
            query = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
            assert query is not None, f"${variable['name']} does not use label_values"
            yield variable["name"], fill(query[1]), query[2]


def rules() -> list[dict[str, Any]]:
    """Return all recording rules and alerts."""
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_expressions() -> Iterator[Expression]:
    """Yield the expression of each rule."""
    return (Expression(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules())


def fill(text: str) -> str:
    """Replace the variables of Grafana by values."""
    for name in sorted(_VARIABLES, key=len, reverse=True):
        text = text.replace(name, _VARIABLES[name])
    return text


def selectors(expression: promql.Expr) -> list[Selector]:
    """Return all selectors in an expression."""
    found: list[Selector] = []

    def visit(node: promql.Expr) -> None:
        if isinstance(node, promql.VectorSelector):
            assert node.name is not None, f"{node} names no metric"
            found.append(Selector(node.name, tuple(node.matchers.matchers)))

    _each(expression, visit)
    return found


def groupings(expression: promql.Expr) -> list[tuple[frozenset[str], list[Selector]]]:
    """Return the labels of each grouping or join, with the selectors that must have them."""
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
    """Return the labels that a table shows."""
    return frozenset(
        name
        for each in panel.get("transformations", ())
        if each["id"] == "organize"
        for name in each["options"]["renameByName"]
    ) - {"Value"}
