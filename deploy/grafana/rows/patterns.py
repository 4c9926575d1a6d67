"""The patterns of a proxy: drivers in processes of their own."""

from __future__ import annotations

from deploy.grafana.panels import Query, Row, graph, timeline
from deploy.grafana.promql import increase, quantile, rate, series, total

_BY, _LEGEND = "instance, pattern", "{{pattern}} {{instance}}"

ROW = Row(
    "Patterns of a proxy",
    [
        timeline(
            "Patterns that serve",
            "Calls to one that does not serve fail, or wait for it with `--pattern-wait`.",
            Query(series("prism_pattern_up"), _LEGEND),
            yes="serves",
            no="does not serve",
        ),
        graph(
            "Restarts of patterns",
            "Launches of a process but the first, by whatever cause: a crash, a command.",
            Query(increase("prism_pattern_restarts_total", _BY), _LEGEND),
            unit="short",
        ),
        graph(
            "Operations by pattern",
            "Handed to the pattern and ended, by calls and in streams; a batch is one.",
            Query(rate("prism_pattern_requests_total", _BY), _LEGEND),
            unit="ops",
        ),
        graph(
            "Duration by pattern, $percentile",
            "There and back: that share of the operations took no longer.",
            Query(quantile("$percentile", "prism_pattern_request_duration_seconds", _BY), _LEGEND),
            unit="s",
        ),
        graph(
            "Failures by pattern and error",
            "VersionConflict and the like are answers to a caller; NotServing means that the "
            "pattern was away.",
            Query(
                rate("prism_pattern_errors_total", "pattern, error_type"),
                "{{pattern}} {{error_type}}",
            ),
            unit="ops",
        ),
        graph(
            "In flight by pattern",
            "Operations handed to the pattern that have not ended; each has places of its own.",
            Query(total("prism_pattern_operations_in_flight", _BY), _LEGEND),
            unit="short",
        ),
    ],
)
