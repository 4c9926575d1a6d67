"""Requests with spans, which are kept in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Span, get_current_span

from prism.adapters.observability.tracing.requests import RequestSpans
from prism.adapters.observability.tracing.spans import RedactingExporter, SpanRecorder
from prism.domain.redaction import Redactor

SECRET = "pass-planted"


class Request:
    """Request with this metadata."""

    connection = "10.0.0.7:4711"
    pattern = ""
    certificate = ""
    timeout_s: float | None = None

    def __init__(self, **metadata: str) -> None:
        self._metadata: Mapping[str, str] = metadata

    def metadata(self, name: str) -> str | None:
        return self._metadata.get(name)


class Traces:
    """Request spans, with those that have ended."""

    def __init__(self, ratio: float) -> None:
        self._exporter = InMemorySpanExporter()
        self.recorder = SpanRecorder(Resource({}), InstrumentationScope("test"))
        exporter = RedactingExporter(self._exporter, Redactor([SECRET]))
        self.recorder.use(SimpleSpanProcessor(exporter))
        self.requests = RequestSpans(self.recorder, ratio)

    @property
    def ended(self) -> Sequence[ReadableSpan]:
        return self._exporter.get_finished_spans()

    def serve(self, *, status: Any = None, **metadata: str) -> Sequence[ReadableSpan]:
        """Serve one request and return all ended spans."""
        begun = self.requests.begin("/prism.v1.KeyValueService/Get", Request(**metadata))
        self.requests.end(begun, status)
        return self.ended


@pytest.fixture
def traces() -> Traces:
    """Requests without a caller's decision are sampled."""
    return Traces(1.0)


@pytest.fixture
def unsampled() -> Traces:
    """Requests without a caller's decision are not sampled."""
    return Traces(0.0)


@pytest.fixture
async def sampled_request(traces: Traces) -> Span:
    """Run the test as a sampled request, and return its span."""
    traces.requests.resume(traces.requests.begin("/x", Request()))
    return get_current_span()
