"""OTLP exporter with an encoding that costs a tenth of the library's.

The library's encoding holds the interpreter for 20 µs a span, while requests wait.

https://opentelemetry.io/docs/specs/otlp/
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1 import trace_pb2

from prism.adapters.observability.tracing.environment import is_collector_local
from prism.adapters.observability.tracing.spans import AnySpan, RecordedSpan, redacted
from prism.domain.redaction import Redact

_INDIVIDUAL_FIELDS: Final = (
    "trace_id",
    "span_id",
    "parent_span_id",
    "start_time_unix_nano",
    "end_time_unix_nano",
)
_MAX_CACHED = 1000


class OtlpExporter(OTLPSpanExporter):
    """The library's exporter, which the standard variables configure, with `Encoding`."""

    def __init__(self, redact: Redact) -> None:
        # gRPC would send what is for loopback to the HTTP proxy as well.
        direct = (("grpc.enable_http_proxy", 0),) if is_collector_local(os.environ) else None
        super().__init__(channel_options=direct)  # type: ignore[arg-type]
        self._encoding = Encoding(redact)

    def _translate_data(self, data: Sequence[AnySpan]) -> ExportTraceServiceRequest:
        return self._encoding.request_of(data)


class Encoding:
    """Encodes one span of each kind with the library, and copies the result for the others.

    Spans are of one kind if they differ in ids and times only.
    """

    def __init__(self, redact: Redact) -> None:
        self._redact = redact
        self._encoded_by_kind: dict[object, bytes] = {}

    def request_of(self, spans: Sequence[AnySpan]) -> ExportTraceServiceRequest:
        """Return the request with all spans, without secrets."""
        uniform = [span for span in spans if isinstance(span, RecordedSpan) and _is_uniform(span)]
        if not uniform:
            return self._encode(spans)
        # The first brings the resource and scope, which all of Prism's spans share.
        request = self._encode(uniform[:1])
        encoded = request.resource_spans[0].scope_spans[0].spans
        for span in uniform[1:]:
            self._add(encoded, span)
        if len(uniform) < len(spans):
            added = set(map(id, uniform))
            others = [span for span in spans if id(span) not in added]
            request.MergeFrom(self._encode(others))
        return request

    def _encode(self, spans: Sequence[AnySpan]) -> ExportTraceServiceRequest:
        return encode_spans([redacted(span, self._redact) for span in spans])

    def _add(self, encoded: Sequence[trace_pb2.Span], span: RecordedSpan) -> None:
        one = encoded.add()  # type: ignore[attr-defined]
        one.MergeFromString(self._encoded_kind(span))
        one.trace_id = span.context.trace_id.to_bytes(16, "big")
        one.span_id = span.context.span_id.to_bytes(8, "big")
        if span.parent is not None:
            one.parent_span_id = span.parent.span_id.to_bytes(8, "big")
        one.start_time_unix_nano = span.start_time
        one.end_time_unix_nano = span.end_time

    def _encoded_kind(self, span: RecordedSpan) -> bytes:
        """Return the fields that all spans of this kind share, encoded."""
        kind = (
            span.name,
            span.kind,
            tuple((span.attributes or {}).items()),
            span.parent and span.parent.is_remote,
            span.status.status_code,
            span.status.description,
        )
        encoded = self._encoded_by_kind.get(kind)
        if encoded is None:
            (by_resource,) = self._encode([span]).resource_spans
            common = by_resource.scope_spans[0].spans[0]
            for field in _INDIVIDUAL_FIELDS:
                common.ClearField(field)
            if len(self._encoded_by_kind) == _MAX_CACHED:
                self._encoded_by_kind.clear()
            encoded = self._encoded_by_kind[kind] = common.SerializeToString()
        return encoded


def _is_uniform(span: RecordedSpan) -> bool:
    return span.uniform and not span.context.trace_state
