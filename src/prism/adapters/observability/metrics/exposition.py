"""Metrics as text, in the format that whoever asks prefers.

https://prometheus.io/docs/instrumenting/exposition_formats/
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector


class Metrics:
    """What the collectors tell, beside the process itself and its Python."""

    def __init__(self, collectors: Iterable[Collector]) -> None:
        self._registry = CollectorRegistry()
        for collector in collectors:
            self._registry.register(collector)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text.

        Args:
            accept: the header of the request; empty: Prometheus' own format.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):  # of a version that is none
            encode, content_type = choose_encoder("")
        return content_type, encode(self._registry)
