"""Which trace a log line belongs to."""

from __future__ import annotations

import sys
from typing import NamedTuple


class TraceIds(NamedTuple):
    """As they stand in logs: lower-case hexadecimal.

    https://opentelemetry.io/docs/specs/otel/compatibility/logging_trace_context/
    """

    trace_id: str
    span_id: str


def current_ids() -> TraceIds | None:
    """Of the span that is current and recorded; None also where nothing is traced at all."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    span = trace.get_current_span()
    # A task outlives the request that it was begun in, whose span has ended by then.
    if not span.is_recording():
        return None
    context = span.get_span_context()
    return TraceIds(f"{context.trace_id:032x}", f"{context.span_id:016x}")
