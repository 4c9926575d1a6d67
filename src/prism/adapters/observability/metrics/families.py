"""The families of metrics that the collectors here make."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)

from prism.domain.tallies import NS_PER_SECOND, Durations

__all__ = [
    "CounterMetricFamily",
    "GaugeMetricFamily",
    "HistogramMetricFamily",
    "InfoMetricFamily",
    "add_durations",
]


def add_durations(
    family: HistogramMetricFamily, labels: Sequence[str], durations: Durations
) -> None:
    """A series of a histogram, in seconds, once there is a duration.

    A dozen lines for everything that nobody asks for would be most of a scrape, in which
    the server does nothing else.
    """
    if not any(durations.counts):
        return
    bounds = [*map(repr, map(float, durations.bounds_s)), "+Inf"]
    buckets = list(zip(bounds, accumulate(durations.counts), strict=True))
    family.add_metric(labels, buckets, durations.total_ns / NS_PER_SECOND)
