"""Metrics as text in the format that the scraper asks for, and helpers of all collectors.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from prism import ports
from prism.domain.tallies import NS_PER_SECOND, Durations
from prism.ports import PrismError

Family = CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily | InfoMetricFamily

_MAX_AGE_S = 1.0
_MAX_FORMATS = 8

# A driver may derive errors of its own without limit; these dozen are the label values.
_PORT_ERRORS = frozenset(
    each for each in vars(ports).values() if isinstance(each, type) and issubclass(each, PrismError)
) - {PrismError}


class Metrics:
    """Metrics of the collectors, of the process and of its Python.

    Rendering takes milliseconds in which nothing else runs, so a text serves all scrapers of
    one second.
    """

    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._rendered: dict[str, tuple[float, bytes]] = {}
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, bytes]:
        """Return the content type and the text.

        Args:
            accept: `Accept` header of the request; empty: Prometheus' own format.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # the header asks for an invalid version
            encode, content_type = choose_encoder("")
        now = time.monotonic()
        rendered_at, text = self._rendered.get(content_type, (-_MAX_AGE_S, b""))
        if now - rendered_at >= _MAX_AGE_S:
            text = encode(self._registry)
            if len(self._rendered) >= _MAX_FORMATS:
                self._rendered.clear()
            self._rendered[content_type] = now, text
        return content_type, text


def add_durations(
    family: HistogramMetricFamily, labels: Sequence[str], durations: Durations
) -> None:
    """Add a series in seconds to a histogram, unless there is no duration yet.

    Empty series of a dozen lines each would be most of a scrape, which blocks the event loop.
    """
    if not any(durations.counts):
        return
    bounds = [*map(repr, map(float, durations.bounds_s)), "+Inf"]
    buckets = list(zip(bounds, accumulate(durations.counts), strict=True))
    family.add_metric(labels, buckets, durations.total_ns / NS_PER_SECOND)


def add_errors(
    family: CounterMetricFamily, labels: Sequence[str], failed: Mapping[type[BaseException], int]
) -> None:
    """Add a series per error of the ports; other exceptions count as `Internal`."""
    by_name: Counter[str] = Counter()
    for error, count in failed.items():
        if issubclass(error, Exception):
            name = next(
                (base.__name__ for base in error.__mro__ if base in _PORT_ERRORS), "Internal"
            )
        else:
            name = "Cancelled"
        by_name[name] += count
    for name, count in sorted(by_name.items()):
        family.add_metric([*labels, name], count)
