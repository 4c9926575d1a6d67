"""Spans on their way to whoever collects them, in the exporter's thread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status

from prism.adapters.observability.tracing.spans import RecordedSpan
from prism.domain.redaction import Redact

AnySpan = ReadableSpan | RecordedSpan
"""A library's, or ours."""


def readable(span: AnySpan, redact: Redact) -> ReadableSpan:
    """As exporters know spans, and with secrets hidden: libraries trace what they like."""
    text = span.status.description
    return ReadableSpan(
        name=redact(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_redacted(span.attributes, redact),
        events=[
            Event(each.name, _redacted(each.attributes, redact), each.timestamp)
            for each in span.events
        ],
        links=[Link(each.context, _redacted(each.attributes, redact)) for each in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, redact(text)) if text else span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class Outgoing(SpanExporter):
    """Hands spans to an exporter as it knows them."""

    def __init__(self, exporter: SpanExporter, redact: Redact) -> None:
        self._exporter = exporter
        self._redact = redact

    def export(self, spans: Sequence[AnySpan]) -> SpanExportResult:
        return self._exporter.export([readable(span, self._redact) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _redacted(attributes: Mapping[str, Any] | None, redact: Redact) -> dict[str, Any]:
    def hidden(value: Any) -> Any:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [hidden(each) for each in value]
        return value

    return {key: hidden(value) for key, value in (attributes or {}).items()}
