"""This server: its lifecycle, its readiness, and what it did not let in."""

from __future__ import annotations

import time
from collections.abc import Iterator

from prometheus_client.registry import Collector

from prism.adapters.observability.metrics.families import (
    CounterMetricFamily,
    GaugeMetricFamily,
    InfoMetricFamily,
)
from prism.domain.admission import Admission
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.ports import State


class Server(Collector):
    """Of one process.

    Args:
        version: of Prism.
    """

    def __init__(
        self,
        version: str,
        admission: Admission,
        lifecycle: LifecycleMachine,
        readiness: ReadinessMonitor,
    ) -> None:
        self._version = version
        self._admission = admission
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._begun = time.monotonic()

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | InfoMetricFamily]:
        yield InfoMetricFamily("prism", "This Prism.", value={"version": self._version})
        yield GaugeMetricFamily(
            "prism_uptime_seconds",
            "Time since the server was built.",
            value=time.monotonic() - self._begun,
        )
        states = GaugeMetricFamily(
            "prism_lifecycle_state", "1 for the state that the driver is in.", labels=["state"]
        )
        for state in State:
            states.add_metric([str(state)], state is self._lifecycle.current)
        yield states
        yield GaugeMetricFamily(
            "prism_ready",
            "1 while /ready says so.",
            value=self._readiness.current.ready,
        )
        yield GaugeMetricFamily(
            "prism_operations_in_flight",
            "Operations let in that have not ended.",
            value=self._admission.in_flight,
        )
        yield GaugeMetricFamily(
            "prism_operations_in_flight_limit",
            "Operations in flight from which on more are shed.",
            value=self._admission.max_in_flight,
        )
        yield CounterMetricFamily(
            "prism_operations_refused",
            "Operations that came while the driver was not running.",
            value=self._admission.refused,
        )
        yield CounterMetricFamily(
            "prism_operations_shed",
            "Operations that were one too many for the bounds on what is in flight.",
            value=self._admission.shed,
        )
