"""The patterns of a proxy: how each is, and the operations that went to it."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.registry import Collector

from prism.adapters.observability.metrics.errors import by_name
from prism.adapters.observability.metrics.families import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    add_durations,
)
from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import PatternState

PATTERN, STATE, OPERATION, ERROR = "pattern", "state", "operation", "error_type"

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily


class PatternMetrics(Collector):
    """Of those that are configured; no other name becomes a label."""

    def __init__(self, patterns: Supervisor, version: str) -> None:
        self._patterns = patterns
        self._version = version

    def collect(self) -> Iterator[Family]:
        # Where others have a driver; so who asks for all instances finds proxies too.
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
            "1 for the state that the pattern is in.",
            labels=[PATTERN, STATE],
        )
        up = GaugeMetricFamily("prism_pattern_up", "1 while the pattern serves.", labels=[PATTERN])
        restarts = CounterMetricFamily(
            "prism_pattern_restarts",
            "Launches of the pattern but the first, by whatever cause.",
            labels=[PATTERN],
        )
        in_flight = GaugeMetricFamily(
            "prism_pattern_operations_in_flight",
            "Operations handed to the pattern that have not ended.",
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
            "Operations handed to the pattern that ended; a batch is one.",
            labels=labels,
        )
        durations = HistogramMetricFamily(
            "prism_pattern_request_duration_seconds",
            "Time an operation took, there and back.",
            labels=labels,
        )
        errors = CounterMetricFamily(
            "prism_pattern_errors",
            "Operations that failed; Cancelled: the caller went, or its deadline passed.",
            labels=[*labels, ERROR],
        )
        for pattern, tallies in self._patterns.tallies.items():
            for operation, tally in tallies.items():
                names = [pattern, operation]
                requests.add_metric(names, sum(tally.counts))
                add_durations(durations, names, tally)
                for error, count in sorted(by_name(tally.failed).items()):
                    errors.add_metric([*names, error], count)
        yield from (requests, durations, errors)
