"""Exported spans are complete and contain no secret."""

from __future__ import annotations

from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from prism.adapters.observability.tracing.otlp import Encoding
from prism.adapters.observability.tracing.spans import RedactingExporter, redacted
from prism.domain.redaction import Redactor
from tests.unit.tracing.conftest import SECRET

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


class Received(SpanExporter):
    """Exporter that keeps the spans as it received them."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture
def received(traces: Any) -> Received:
    received = Received()
    traces.recorder.use(SimpleSpanProcessor(received))
    return received


def test_the_encoding_equals_the_library_s(traces: Any, received: Received) -> None:
    failed = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="gone")
    for status in (None, failed, None, failed):
        traces.serve(status=status)
        traces.serve(status=status, traceparent=CALLER)
        traces.serve(status=status, traceparent=CALLER, tracestate="a=1")
    for name in ("get", "get", "BATCH get"):
        parent = received.spans[-1].context
        traces.recorder.start(name, SpanKind.CLIENT, parent, {"db.operation.name": name}).end()
    assert len(received.spans) == 15
    theirs = encode_spans([redacted(span, Redactor()) for span in received.spans])
    assert by_id(Encoding(Redactor()).request_of(received.spans)) == by_id(theirs)


def test_what_a_library_adds_to_a_span_is_exported(traces: Any, received: Received) -> None:
    spans = [traces.recorder.start("get", SpanKind.CLIENT, None, {}) for _ in range(2)]
    spans[0].set_attribute("answer", 1)
    spans[1].set_attribute("answer", True)
    spans[1].add_event("seen", {"from": ["here", "there"]})
    spans[1].record_exception(ValueError(f"{SECRET} is wrong"))
    for span in spans:
        span.end()
    one, other = by_id(Encoding(Redactor()).request_of(received.spans)).values()
    assert one.attributes[0].value.int_value == 1
    assert other.attributes[0].value.bool_value is True
    assert [event.name for event in other.events] == ["seen", "exception"]
    assert SECRET not in str(other)


@pytest.mark.parametrize("encode", [Encoding(Redactor([SECRET])).request_of, None])
def test_a_secret_in_a_library_s_span_is_redacted(
    traces: Any, received: Received, encode: Any
) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(received))
    with (
        pytest.raises(ValueError, match=SECRET),
        provider.get_tracer("library").start_as_current_span(
            f"AUTH {SECRET}", attributes={"db.query.text": f"AUTH {SECRET}", "all": [SECRET]}
        ),
    ):
        raise ValueError(f"{SECRET} is wrong")
    traces.serve(status=status_pb2.Status(code=code_pb2.INTERNAL, message=f"no {SECRET}"))
    assert SECRET in "".join(span.name for span in received.spans)
    if encode is None:
        shown = Received()
        RedactingExporter(shown, Redactor([SECRET])).export(received.spans)
        exported = "".join(span.to_json() for span in shown.spans)
    else:
        exported = str(encode(received.spans))
    assert "ValueError" in exported
    assert SECRET not in exported


def test_a_password_that_is_a_common_word_hides_nothing_that_prism_put_into_a_span(
    traces: Any, received: Received
) -> None:
    traces.serve(status=status_pb2.Status(code=code_pb2.INTERNAL, message="no grpc"))
    shown = Received()
    RedactingExporter(shown, Redactor(["prism", "grpc", "INTERNAL"])).export(received.spans)
    (span,) = shown.spans
    assert span.name == received.spans[0].name
    assert "prism" in span.name
    assert span.attributes == received.spans[0].attributes
    assert span.status.description == "no ***"


def by_id(request: Any) -> dict[bytes, Any]:
    return {
        span.span_id: span
        for by_resource in request.resource_spans
        for by_scope in by_resource.scope_spans
        for span in by_scope.spans
    }
