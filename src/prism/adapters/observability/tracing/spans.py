"""Spans that a request barely notices: what is left to do about one, its exporter's thread does.

The library's own take some 20 µs each, in which the server does nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import getrandbits
from time import time_ns
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, SpanProcessor
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

_SAMPLED = TraceFlags(TraceFlags.SAMPLED | TraceFlags.RANDOM_TRACE_ID)
_UNSET = Status()


class Recorder:
    """Begins spans of what is sampled for certain, and hands them on when they end.

    Args:
        resource: the process that they are of.
        scope: whose spans they are.
    """

    def __init__(self, resource: Resource, scope: InstrumentationScope) -> None:
        self.resource = resource
        self.scope = scope
        # Does nothing with them.
        self._processor = SpanProcessor()

    def hand_to(self, processor: SpanProcessor) -> None:
        """From now on; the exporter behind it has to know `RecordedSpan`."""
        self._processor = processor

    def begin(
        self, name: str, kind: SpanKind, parent: SpanContext | None, attributes: Attributes
    ) -> RecordedSpan:
        """A span from now on.

        Args:
            parent: None: it begins a trace.
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
        # A processor looks at the context, and the exporter at the rest.
        self._processor.on_end(span)  # type: ignore[arg-type]


class RecordedSpan(Span):
    """What a span is made of, by the names that `ReadableSpan` has for it.

    Attributes:
        plain: nobody but us has added to it, so that many are alike.
    """

    __slots__ = (
        "_recorder",
        "attributes",
        "context",
        "end_time",
        "events",
        "kind",
        "links",
        "name",
        "parent",
        "plain",
        "start_time",
        "status",
    )

    def __init__(
        self,
        recorder: Recorder,
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
        self.plain = True
        self.start_time = time_ns()
        self.end_time: int | None = None

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

    def tell(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Add attributes of ours."""
        self.attributes = {**(self.attributes or {}), **attributes}

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        self.set_attributes({key: value})

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        self.plain = False
        self.tell(attributes)

    def add_event(
        self, name: str, attributes: Attributes = None, timestamp: int | None = None
    ) -> None:
        self.plain = False
        self.events = (*self.events, Event(name, attributes, timestamp))

    def add_link(self, context: SpanContext, attributes: Attributes = None) -> None:
        self.plain = False
        self.links = (*self.links, Link(context, attributes))

    def update_name(self, name: str) -> None:
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
        """By its type alone: what it says may quote a value."""
        told: dict[str, Any] = {EXCEPTION_TYPE: type(exception).__qualname__}
        self.add_event("exception", {**told, **(attributes or {})}, timestamp)
