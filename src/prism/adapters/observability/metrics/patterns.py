"""Metrics of a proxy's patterns: their states, and the operations sent to them."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import Collector

from prism.adapters.observability.metrics.exposition import Family, add_durations, add_errors
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import PatternState

PATTERN, STATE, OPERATION, ERROR = "pattern", "state", "operation", "error_type"


class PatternCollector(Collector):
    """Metrics of the configured patterns; no other name becomes a label value.

    Args:
        version: version of Prism.
    """

    def __init__(self, patterns: Supervisor, version: str) -> None:
        self._patterns = patterns
        self._version = version

    def collect(self) -> Iterator[Family]:
        # Under the same name as a server's, so that one query finds servers and proxies.
        yield InfoMetricFamily(
            "backend_driver",
            "The driver that is served.",
            value={"driver": "proxy", "version": self._version},
        )
        yield from self._states()
        yield from self._operations()

    def _states(self) -> Iterator[Family]:
        states = GaugeMetricFamily(
            "prism_pattern_state",
            "1 for the current state of the pattern.",
            labels=[PATTERN, STATE],
        )
        up = GaugeMetricFamily("prism_pattern_up", "1 while the pattern serves.", labels=[PATTERN])
        restarts = CounterMetricFamily(
            "prism_pattern_restarts",
            "Launches of the pattern after the first, for any reason.",
            labels=[PATTERN],
        )
        in_flight = GaugeMetricFamily(
            "prism_pattern_operations_in_flight",
            "Operations sent to the pattern that have not ended.",
            labels=[PATTERN],
        )
        for status in (pattern.status for pattern in self._patterns):
            for state in PatternState:
                states.add_metric([status.name, state], state is status.state)
            up.add_metric([status.name], status.state is PatternState.SERVING)
            restarts.add_metric([status.name], status.restarts)
            in_flight.add_metric([status.name], status.in_flight)
        yield from (states, up, restarts, in_flight)

    def _operations(self) -> Iterator[Family]:
        labels = [PATTERN, OPERATION]
        requests = CounterMetricFamily(
            "prism_pattern_requests",
            "Operations sent to the pattern that ended; a batch is one.",
            labels=labels,
        )
        durations = HistogramMetricFamily(
            "prism_pattern_request_duration_seconds",
            "Duration of an operation, including the round trip to the pattern.",
            labels=labels,
        )
        errors = CounterMetricFamily(
            "prism_pattern_errors",
            "Operations that failed; Cancelled: by the caller or its deadline.",
            labels=[*labels, ERROR],
        )
        for pattern, tallies in self._patterns.tallies.items():
            for operation, tally in tallies.items():
                names = [pattern, operation]
                requests.add_metric(names, sum(tally.durations.counts))
                add_durations(durations, names, tally.durations)
                add_errors(errors, names, tally.failed)
        yield from (requests, durations, errors)
