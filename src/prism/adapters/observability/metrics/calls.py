"""Calls that arrived by gRPC, and operations that came in streams.

https://opentelemetry.io/docs/specs/semconv/rpc/rpc-metrics/
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from google.rpc import code_pb2
from prometheus_client.registry import Collector

from prism.adapters.observability.metrics.families import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    add_durations,
)
from prism.domain.tallies import Durations

METHOD = "rpc_method"
CODE = "rpc_response_status_code"


class Tally(Protocol):
    """See `prism.adapters.grpc.calls.Tally`."""

    @property
    def started(self) -> int: ...
    @property
    def ended(self) -> int: ...
    @property
    def refused(self) -> Mapping[int, int]: ...


class Method(Protocol):
    """Something that callers call, by its path."""

    @property
    def path(self) -> str: ...
    @property
    def tally(self) -> Tally: ...


class TimedMethod(Method, Protocol):
    """One whose durations are counted."""

    @property
    def durations(self) -> Durations: ...


class Calls(Collector):
    """Of every method that is served, and of no other.

    Args:
        streamed: operations of streams, each under the method of the same effect.
    """

    def __init__(self, methods: Iterable[TimedMethod], streamed: Iterable[Method]) -> None:
        self._methods = tuple(methods)
        self._streamed = tuple(streamed)

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        yield _started("rpc_server_calls", "Calls that arrived.", self._methods)
        yield _failed("rpc_server_errors", "Calls that failed, by status code.", self._methods)
        in_flight = GaugeMetricFamily(
            "rpc_server_calls_in_flight", "Calls that are being served.", labels=[METHOD]
        )
        durations = HistogramMetricFamily(
            "rpc_server_call_duration_seconds",
            "Time from a call's arrival to its end, a stream's included.",
            labels=[METHOD],
        )
        for method in self._methods:
            in_flight.add_metric([_name(method)], method.tally.started - method.tally.ended)
            add_durations(durations, [_name(method)], method.durations)
        yield in_flight
        yield durations
        yield _started(
            "rpc_server_stream_operations", "Operations that arrived in streams.", self._streamed
        )
        yield _failed(
            "rpc_server_stream_operation_errors",
            "Operations of streams that failed, by status code.",
            self._streamed,
        )


def _started(name: str, text: str, methods: Iterable[Method]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[METHOD])
    for method in methods:
        family.add_metric([_name(method)], method.tally.started)
    return family


def _failed(name: str, text: str, methods: Iterable[Method]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[METHOD, CODE])
    for method in methods:
        for code, count in sorted(method.tally.refused.items()):
            family.add_metric([_name(method), code_pb2.Code.Name(code)], count)
    return family


def _name(method: Method) -> str:
    return method.path.removeprefix("/")
