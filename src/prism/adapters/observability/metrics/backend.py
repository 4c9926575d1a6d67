"""The driver: operations of its ports, and what it last said of its backend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from prometheus_client.registry import Collector

from prism.adapters.observability.metrics.errors import by_name
from prism.adapters.observability.metrics.families import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    add_durations,
)
from prism.domain.gateway import Gateway
from prism.domain.readiness import ReadinessMonitor

DRIVER, OPERATION, ERROR = "driver", "operation", "error_type"

# What a health check may tell, and the metric made of it.
_TOLD = (
    ("keys", "backend_driver_keys", "Keys in the backend at the last health check."),
    ("max_keys", "backend_driver_keys_limit", "Keys that the backend may hold, if bounded."),
    (
        "bytes",
        "backend_driver_bytes",
        "Bytes of keys and values in the backend at the last health check.",
    ),
    (
        "max_bytes",
        "backend_driver_bytes_limit",
        "Bytes of keys and values that the backend may hold, if bounded.",
    ),
)

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily


class Backend(Collector):
    """Of one driver.

    Args:
        driver: its name.
        version: of its package.
    """

    def __init__(
        self, driver: str, version: str, gateway: Gateway, readiness: ReadinessMonitor
    ) -> None:
        self._driver = driver
        self._version = version
        self._gateway = gateway
        self._readiness = readiness

    def collect(self) -> Iterator[Family]:
        yield InfoMetricFamily(
            "backend_driver",
            "The driver that is served.",
            value={"driver": self._driver, "version": self._version},
        )
        yield from self._operations()
        yield from self._state()

    def _operations(self) -> Iterator[Family]:
        labels = [DRIVER, OPERATION]
        requests = CounterMetricFamily(
            "backend_driver_requests", "Operations that ended; a batch is one.", labels=labels
        )
        durations = HistogramMetricFamily(
            "backend_driver_request_duration_seconds", "Time an operation took.", labels=labels
        )
        errors = CounterMetricFamily(
            "backend_driver_errors",
            "Operations that failed; Cancelled: the caller went, or its deadline passed.",
            labels=[*labels, ERROR],
        )
        items = CounterMetricFamily("backend_driver_batch_items", "Keys in batches.", labels=labels)
        for operation, tally in self._gateway.tallies.items():
            names = [self._driver, operation]
            requests.add_metric(names, sum(tally.counts))
            add_durations(durations, names, tally)
            for error, count in sorted(by_name(tally.failed).items()):
                errors.add_metric([*names, error], count)
            if operation.endswith("_many"):
                items.add_metric(names, tally.items)
        yield from (requests, durations, errors, items)

    def _state(self) -> Iterator[Family]:
        told = self._readiness.details
        connections = GaugeMetricFamily(
            "backend_driver_connections_active",
            "Connections to the backend in use at the last health check; an embedded one has none.",
            labels=[DRIVER],
        )
        connections.add_metric([self._driver], _number(told, "connections") or 0)
        yield connections
        for name, metric, text in _TOLD:
            yield self._told(name, GaugeMetricFamily(metric, text, labels=[DRIVER]))
        expired = CounterMetricFamily(
            "backend_driver_expired_keys",
            "Keys that expired and were dropped, where the driver sees to that itself.",
            labels=[DRIVER],
        )
        yield self._told("expired", expired)
        watches = GaugeMetricFamily(
            "backend_driver_watches_active", "Watches that stand.", labels=[DRIVER]
        )
        watches.add_metric([self._driver], self._gateway.watches.standing)
        yield watches
        bound = GaugeMetricFamily(
            "backend_driver_watches_limit", "Watches that may stand at once.", labels=[DRIVER]
        )
        bound.add_metric([self._driver], self._gateway.watches.max_watches)
        yield bound

    def _told(self, name: str, family: GaugeMetricFamily | CounterMetricFamily) -> Family:
        number = _number(self._readiness.details, name)
        if number is not None:
            family.add_metric([self._driver], number)
        return family


def _number(details: Mapping[str, str], name: str) -> int | None:
    text = details.get(name, "")
    return int(text) if text.isdecimal() else None
