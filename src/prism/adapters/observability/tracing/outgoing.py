"""Spans on their way to whoever collects them, in the exporter's thread."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import Link, Status

from prism.adapters.observability.tracing.spans import RecordedSpan

Mask = Callable[[str], str]

AnySpan = ReadableSpan | RecordedSpan
"""A library's, or ours."""


def readable(span: AnySpan, mask: Mask) -> ReadableSpan:
    """As exporters know spans, and with secrets hidden: libraries trace what they like."""
    text = span.status.description
    return ReadableSpan(
        name=mask(span.name),
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_masked(span.attributes, mask),
        events=[
            Event(each.name, _masked(each.attributes, mask), each.timestamp) for each in span.events
        ],
        links=[Link(each.context, _masked(each.attributes, mask)) for each in span.links],
        kind=span.kind,
        status=Status(span.status.status_code, mask(text)) if text else span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


class Outgoing(SpanExporter):
    """Hands spans to an exporter as it knows them."""

    def __init__(self, exporter: SpanExporter, mask: Mask) -> None:
        self._exporter = exporter
        self._mask = mask

    def export(self, spans: Sequence[AnySpan]) -> SpanExportResult:
        return self._exporter.export([readable(span, self._mask) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def _masked(attributes: Mapping[str, Any] | None, mask: Mask) -> dict[str, Any]:
    def hidden(value: Any) -> Any:
        if isinstance(value, str):
            return mask(value)
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [hidden(each) for each in value]
        return value

    return {key: hidden(value) for key, value in (attributes or {}).items()}
