"""Spans that cost the request little: their exporter's thread does most of the work.

A span of the SDK takes some 20 µs of the event loop.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from random import getrandbits
from time import time_ns

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.exception_attributes import EXCEPTION_TYPE
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
)
from opentelemetry.util.types import Attributes, AttributeValue

from prism.domain.redaction import Redact

_SAMPLED = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
_UNSET = Status()
_NOTHING: frozenset[str] = frozenset()
# Stands for the name of a span among the names of its attributes.
_NAME = ""


class SpanRecorder:
    """Starts spans of sampled traces, and passes them to a processor when they end.

    Args:
        resource: resource of all spans: this process.
        scope: instrumentation scope of all spans.
    """

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self.resource = resource
        self.scope = scope
        # The base class discards spans.
        self._processor = SpanProcessor()

    def use(self, processor: SpanProcessor) -> None:
        """Pass spans to this processor; its exporter must accept `RecordedSpan`."""
        self._processor = processor

    def start(
        self, name: str, kind: SpanKind, parent: SpanContext | None, attributes: Attributes
    ) -> RecordedSpan:
        """Start a span.

        Args:
            parent: None: start a new trace.
        """
        if parent is None:
            context = SpanContext(getrandbits(128) or 1, getrandbits(64) or 1, False, _SAMPLED)
        else:
            context = SpanContext(
                parent.trace_id,
                getrandbits(64) or 1,
                False,
                parent.trace_flags,
                parent.trace_state,
            )
        return RecordedSpan(self, name, kind, context, parent, attributes)

    def ended(self, span: RecordedSpan) -> None:
        # A processor reads the context only, and our exporters read the rest.
        self._processor.on_end(span)  # type: ignore[arg-type]


class RecordedSpan(Span):
    """Span whose attributes have the names that `ReadableSpan` gives them.

    Attributes:
        uniform: whether only Prism added to the span, so that many spans are alike.
        foreign: names of the attributes that others set, which may hold secrets.
    """

    __slots__ = (
        "_recorder",
        "attributes",
        "context",
        "end_time",
        "events",
        "foreign",
        "kind",
        "links",
        "name",
        "parent",
        "start_time",
        "status",
        "uniform",
    )

    def __init__(
        self,
        recorder: SpanRecorder,
        name: str,
        kind: SpanKind,
        context: SpanContext,
        parent: SpanContext | None,
        attributes: Attributes,
    ) -> None:
        self._recorder = recorder
        self.name = name
        self.kind = kind
        self.context = context
        self.parent = parent
        # Never changed in place: many spans share it.
        self.attributes = attributes
        self.events: Sequence[Event] = ()
        self.links: Sequence[Link] = ()
        self.status = _UNSET
        self.uniform = True
        self.start_time = time_ns()
        self.end_time: int | None = None
        self.foreign: frozenset[str] = _NOTHING

    @property
    def resource(self) -> Resource:
        return self._recorder.resource

    @property
    def instrumentation_scope(self) -> InstrumentationScope:
        return self._recorder.scope

    def end(self, end_time: int | None = None) -> None:
        if self.end_time is None:
            self.end_time = time_ns() if end_time is None else end_time
            self._recorder.ended(self)

    def get_span_context(self) -> SpanContext:
        return self.context

    def is_recording(self) -> bool:
        return self.end_time is None

    def add_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Add attributes of Prism's own, which keep the span uniform."""
        self.attributes = {**(self.attributes or {}), **attributes}

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.uniform = False
        self.foreign |= attributes.keys()
        self.add_attributes(attributes)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        self.uniform = False
        self.events = (*self.events, Event(name, attributes, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        self.uniform = False
        self.links = (*self.links, Link(context, attributes))

    def update_name(self, name: str) -> None:
        self.uniform = False
        self.foreign |= {_NAME}
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        self.status = status if isinstance(status, Status) else Status(status, description)

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Record the type alone: the message may quote a value."""
        exception_type = type(exception).__qualname__
        self.add_event(
            "exception", {EXCEPTION_TYPE: exception_type, **(attributes or {})}, timestamp
        )


AnySpan = ReadableSpan | RecordedSpan
"""Span of a library, or of Prism."""


class RedactingExporter(SpanExporter):
    """Passes spans without secrets to an exporter that knows `ReadableSpan` only."""

    def __init__(self, exporter: SpanExporter, redact: Redact) -> None:
        self._exporter = exporter
        self._redact = redact

    def export(self, spans: Sequence[AnySpan]) -> SpanExportResult:
        return self._exporter.export([redacted(span, self._redact) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def redacted(span: AnySpan, redact: Redact) -> ReadableSpan:
    """Return the span without secrets, which a library may have put into any text of it.

    Text that Prism itself wrote there is not secret, even if a password is the same word.
    """
    text = span.status.description
    if isinstance(span, RecordedSpan):
        own = (span.attributes or {}).keys() - span.foreign
        name = redact(span.name) if _NAME in span.foreign else span.name
    else:
        own, name = set(), redact(span.name)
    return ReadableSpan(
        name=name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=_redacted_attributes(span.attributes, redact, own),
        events=[
            Event(each.name, _redacted_attributes(each.attributes, redact), each.timestamp)
            for each in span.events
        ],
        links=[
            Link(each.context, _redacted_attributes(each.attributes, redact)) for each in span.links
        ],
        kind=span.kind,
        status=Status(span.status.status_code, redact(text)) if text else span.status,
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def _redacted_attributes(
    attributes: Attributes, redact: Redact, own: Collection[str] = ()
) -> dict[str, AttributeValue]:
    def redacted_value(value: AttributeValue) -> AttributeValue:
        if isinstance(value, str):
            return redact(value)
        if isinstance(value, Sequence) and not isinstance(value, bytes):
            return [redact(each) if isinstance(each, str) else each for each in value]
        return value

    return {
        key: value if key in own else redacted_value(value)
        for key, value in (attributes or {}).items()
    }
