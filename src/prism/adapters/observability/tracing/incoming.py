"""Where a request stands in its caller's trace.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Protocol

from opentelemetry.context import Context
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

NO_PARENT = Context()

_PROPAGATOR = TraceContextTextMapPropagator()
_NOT_SAMPLED = frozenset({"-00", "-02"})

(_SPAN_KEY,) = set_span_in_context(INVALID_SPAN, NO_PARENT)


class Metadata(Protocol):
    """What a request came with."""

    def metadata(self, name: str) -> str | None: ...


class NotTraced(Context):
    """Of a request that is not sampled, which is told by the type alone."""


# The libraries of a driver, and the servers behind this one, are told not to sample
# either; which trace it is that nobody records makes no difference to them.
NOT_TRACED = NotTraced(
    set_span_in_context(
        NonRecordingSpan(
            SpanContext(
                trace_id=random.getrandbits(128) | 1,
                span_id=random.getrandbits(64) | 1,
                is_remote=False,
                trace_flags=TraceFlags.get_default(),
            )
        ),
        NO_PARENT,
    )
)
"""Of a request that begins a trace which is not sampled."""


def containing(span: Span) -> Context:
    """A context in which the span is the current one, and nothing else."""
    return Context({_SPAN_KEY: span})


def not_sampled(traceparent: str, request: Metadata) -> NotTraced | None:
    """The context of a request that its caller does not sample.

    None also where that is not plain at a glance: then it has to be parsed.
    """
    if traceparent[52:] in _NOT_SAMPLED and traceparent[:3] == "00-":
        return NotTraced({_SPAN_KEY: NotSampled(traceparent, request)})
    return None


def context_of(traceparent: str, tracestate: str | None) -> Context:
    """With the caller's span as the current one; without any when it is malformed."""
    carrier: Mapping[str, str] = {"traceparent": traceparent}
    if tracestate is not None:
        carrier = {**carrier, "tracestate": tracestate}
    return _PROPAGATOR.extract(carrier, NO_PARENT)


class NotSampled(NonRecordingSpan):
    """A caller's span that is not sampled, parsed by whoever asks for its ids.

    As a rule nobody does: a parse costs more than all else about such a request.
    """

    def __init__(self, traceparent: str, request: Metadata) -> None:
        self._traceparent = traceparent
        self._request = request

    def get_span_context(self) -> SpanContext:
        context = context_of(self._traceparent, self._request.metadata("tracestate"))
        return get_current_span(context).get_span_context()
