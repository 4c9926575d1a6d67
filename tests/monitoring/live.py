"""Dashboard and alerts against what a real Prometheus scraped from running servers.

Not collected with the other tests: `make observability-check` runs it and needs Prometheus.
"""

from __future__ import annotations

import math
import re
import subprocess
import urllib.request

import promql_parser as promql
import pytest
from google.rpc import code_pb2

from prism import ports
from tests.monitoring.conftest import Scraped
from tests.monitoring.expressions import (
    Expression,
    dashboard_expressions,
    groupings,
    rule_expressions,
    selectors,
    variables,
)

SHOWN, RULES = list(dashboard_expressions()), list(rule_expressions())

# No process restarts here.
WITHOUT_DATA = {"Restarts"}

# Labels whose series start with the first error, with all their possible values.
KNOWN = {
    "rpc_response_status_code": frozenset(code_pb2.Code.keys()),
    "error_type": frozenset(ports.__all__) | {"Cancelled"},
}


def name_of(expression: Expression) -> str:
    return expression.place


@pytest.mark.parametrize("driver", ["memstore", "redis", "nats", "drained", "proxy"])
def test_promtool_accepts_the_metrics(scraped: Scraped, driver: str) -> None:
    address = scraped.prisms[driver].metrics_address
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as reply:
        text = reply.read()
    checked = subprocess.run(
        ["promtool", "check", "metrics"], input=text, capture_output=True, check=False
    )
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")


def test_prometheus_reports_the_load(scraped: Scraped) -> None:
    ask = scraped.prometheus.number
    for driver, done in scraped.done.items():
        metric, of = "backend_driver", f'driver="{driver}"'
        if driver == "proxy":
            metric, of = "prism_pattern", 'pattern="a"'
        requests = f'sum({metric}_requests_total{{{of}, operation="set"}})'
        assert ask(requests) == done.sets
        lost = f'sum({metric}_errors_total{{{of}, error_type="VersionConflict"}})'
        assert ask(lost) == done.conflicts
        address = scraped.prisms[driver].metrics_address
        assert ask(f'prism_operations_shed_total{{instance="{address}"}}') == done.shed
    assert scraped.done["redis"].shed > 0
    assert ask("sum(prism_operations_refused_total)") == scraped.refused > 0
    assert ask('sum(up{job="prism"})') == len(scraped.prisms)


@pytest.mark.parametrize("shown", SHOWN, ids=name_of)
def test_a_panel_has_data(scraped: Scraped, shown: Expression) -> None:
    samples = scraped.prometheus.ask(shown.text)
    if shown.place in WITHOUT_DATA:
        assert samples == []
        return
    assert any(math.isfinite(sample.value) for sample in samples), f"no data: {shown.text}"
    for sample in samples:
        assert shown.legend <= sample.labels.keys()


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_a_rule_can_be_evaluated(scraped: Scraped, rule: Expression) -> None:
    scraped.prometheus.ask(rule.text)
    found = [each for each in scraped.prometheus.rules() if each["name"] == rule.place]
    assert found
    assert {each["health"] for each in found} == {"ok"}, found


@pytest.mark.parametrize("expression", [*SHOWN, *RULES], ids=name_of)
def test_an_expression_uses_metrics_and_labels_that_exist(
    scraped: Scraped, expression: Expression
) -> None:
    parsed = promql.parse(expression.text)
    for selector in selectors(parsed):
        labels = labels_of(scraped, selector.metric)
        assert labels, f"there is no metric {selector.metric}"
        for matcher in selector.matchers:
            assert matcher.name in labels, f"{selector.metric} has no label {matcher.name}"
            values = KNOWN.get(matcher.name, labels[matcher.name])
            assert makes_sense(matcher, values), f"{matcher} of {selector.metric}: {sorted(values)}"
    for names, below in groupings(parsed):
        present = {name for each in below for name in labels_of(scraped, each.metric)}
        assert names <= present, f"grouped by {sorted(names)}, and there are {sorted(present)}"


@pytest.mark.parametrize(("name", "selector", "label"), list(variables()))
def test_a_variable_has_values(scraped: Scraped, name: str, selector: str, label: str) -> None:
    found = {series.get(label) for series in scraped.prometheus.series(selector)}
    assert found
    assert None not in found


def labels_of(scraped: Scraped, metric: str) -> dict[str, frozenset[str]]:
    """Return the labels of all series of a metric, with their values."""
    found: dict[str, frozenset[str]] = {}
    for series in scraped.prometheus.series(metric):
        for label, value in series.items():
            found[label] = found.get(label, frozenset()) | {value}
    return found


def makes_sense(matcher: promql.Matcher, values: frozenset[str]) -> bool:
    """Return whether each alternative of the matcher matches a value."""
    exact = matcher.op in (promql.MatchOp.Equal, promql.MatchOp.NotEqual)
    listed = "(" not in matcher.value
    alternatives = matcher.value.split("|") if listed and not exact else [matcher.value]
    patterns = [re.escape(each) if exact else each for each in alternatives]
    return all(any(re.fullmatch(each, value) for value in values) for each in patterns)
