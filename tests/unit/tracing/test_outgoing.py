"""What leaves the process: every span whole, and no secret in any."""

from __future__ import annotations

from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from prism.adapters.observability.tracing.otlp import Encoding
from prism.adapters.observability.tracing.outgoing import Outgoing, readable
from prism.domain.redaction import Redactor
from tests.unit.tracing.conftest import SECRET

TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = f"00-{TRACE}-b7ad6b7169203331-01"


class Kept(SpanExporter):
    """All spans, as a processor hands them over."""

    def __init__(self) -> None:
        self.spans: list[Any] = []

    def export(self, spans: Any) -> SpanExportResult:
        self.spans += spans
        return SpanExportResult.SUCCESS


@pytest.fixture
def kept(traces: Any) -> Kept:
    kept = Kept()
    traces.recorder.hand_to(SimpleSpanProcessor(kept))
    return kept


def test_our_encoding_is_the_library_s(traces: Any, kept: Kept) -> None:
    failed = status_pb2.Status(code=code_pb2.UNAVAILABLE, message="gone")
    for status in (None, failed, None, failed):
        traces.serve(status=status)
        traces.serve(status=status, traceparent=CALLER)
        traces.serve(status=status, traceparent=CALLER, tracestate="a=1")
    for name in ("get", "get", "BATCH get"):
        parent = kept.spans[-1].context
        traces.recorder.begin(name, SpanKind.CLIENT, parent, {"db.operation.name": name}).end()
    assert len(kept.spans) == 15
    theirs = encode_spans([readable(span, Redactor()) for span in kept.spans])
    assert by_id(Encoding(Redactor()).request_of(kept.spans)) == by_id(theirs)


def test_what_a_library_adds_to_our_spans_is_told(traces: Any, kept: Kept) -> None:
    spans = [traces.recorder.begin("get", SpanKind.CLIENT, None, {}) for _ in range(2)]
    spans[0].set_attribute("answer", 1)
    spans[1].set_attribute("answer", True)
    spans[1].add_event("seen", {"from": ["here", "there"]})
    spans[1].record_exception(ValueError(f"{SECRET} is wrong"))
    for span in spans:
        span.end()
    one, other = by_id(Encoding(Redactor()).request_of(kept.spans)).values()
    assert one.attributes[0].value.int_value == 1
    assert other.attributes[0].value.bool_value is True
    assert [event.name for event in other.events] == ["seen", "exception"]
    assert SECRET not in str(other)


@pytest.mark.parametrize("encode", [Encoding(Redactor([SECRET])).request_of, None])
def test_a_secret_that_a_library_traces_is_hidden(traces: Any, kept: Kept, encode: Any) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(kept))
    with (
        pytest.raises(ValueError, match=SECRET),
        provider.get_tracer("library").start_as_current_span(
            f"AUTH {SECRET}", attributes={"db.query.text": f"AUTH {SECRET}", "all": [SECRET]}
        ),
    ):
        raise ValueError(f"{SECRET} is wrong")
    traces.serve(status=status_pb2.Status(code=code_pb2.INTERNAL, message=f"no {SECRET}"))
    assert SECRET in "".join(span.name for span in kept.spans)
    if encode is None:
        shown = Kept()
        Outgoing(shown, Redactor([SECRET])).export(kept.spans)
        told = "".join(span.to_json() for span in shown.spans)
    else:
        told = str(encode(kept.spans))
    assert "ValueError" in told
    assert SECRET not in told


def by_id(request: Any) -> dict[bytes, Any]:
    return {
        span.span_id: span
        for by_resource in request.resource_spans
        for by_scope in by_resource.scope_spans
        for span in by_scope.spans
    }
