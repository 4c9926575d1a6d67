"""Trace context and deadline that a call passes on to the server.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol


class TraceContext(NamedTuple):
    """W3C trace context, as sent in metadata and in operations."""

    traceparent: str
    tracestate: str


class Forwarded(Protocol):
    """Incoming call on whose behalf the client calls another server."""

    @property
    def timeout_s(self) -> float:
        """Seconds left; the server of the incoming call enforces this deadline."""
        ...

    @property
    def trace(self) -> tuple[str, str] | None:
        """Fields of its `TraceContext`; None: it has none."""
        ...


def trace_context_source() -> Callable[[], TraceContext | None] | None:
    """Return a function that finds the current trace context.

    None in a process that has not imported OpenTelemetry: an application with traces
    imports it before it connects, and others do not pay for the import.
    """
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    current_span = trace.get_current_span

    def current() -> TraceContext | None:
        context = current_span().get_span_context()
        if not context.is_valid:
            return None
        return TraceContext(
            f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}",
            context.trace_state.to_header(),
        )

    return current
