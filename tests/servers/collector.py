"""Collector of traces: a gRPC server that keeps the spans that it receives over OTLP.

https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Received:
    """Span with its resource."""

    resource: Mapping[str, Any]
    span: Span

    @property
    def name(self) -> str:
        name: str = self.span.name
        return name

    @property
    def kind(self) -> str:
        return Span.SpanKind.Name(self.span.kind).removeprefix("SPAN_KIND_").lower()

    @property
    def attributes(self) -> dict[str, Any]:
        return _plain(self.span.attributes)

    def is_child_of(self, other: Received) -> bool:
        one, parent = self.span, other.span
        same_trace: bool = one.trace_id == parent.trace_id
        return same_trace and one.parent_span_id == parent.span_id


class Collector(TraceServiceServicer):
    """Collector that runs as a context manager.

    Attributes:
        endpoint: value for OTEL_EXPORTER_OTLP_ENDPOINT.
    """

    def __init__(self) -> None:
        self._received: list[Received] = []
        self._more = threading.Condition()
        self._server = grpc.server(ThreadPoolExecutor(2))
        add_TraceServiceServicer_to_server(self, self._server)  # type: ignore[no-untyped-call]
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"

    def Export(  # noqa: N802  (the name in the proto)
        self, request: ExportTraceServiceRequest, context: Any
    ) -> ExportTraceServiceResponse:
        with self._more:
            for by_resource in request.resource_spans:
                resource = _plain(by_resource.resource.attributes)
                for scope in by_resource.scope_spans:
                    self._received.extend(Received(resource, span) for span in scope.spans)
            self._more.notify_all()
        return ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Received]:
        """Return all spans received so far."""
        with self._more:
            return list(self._received)

    def wait_for(self, *names: str) -> list[Received]:
        """Wait for a span of each name, and return the first of each."""

        def first_of_each() -> list[Received]:
            by_name = {span.name: span for span in reversed(self._received)}
            return [by_name[name] for name in names if name in by_name]

        with self._more:
            there = self._more.wait_for(lambda: len(first_of_each()) == len(names), TIMEOUT_S)
            assert there, f"only {[span.name for span in self._received]}"
            return first_of_each()

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.stop(None).wait(TIMEOUT_S)


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
