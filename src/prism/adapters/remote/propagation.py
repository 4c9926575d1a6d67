"""What goes with a call on behalf of whoever caused it: trace context, and deadline.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple, Protocol


class TraceContext(NamedTuple):
    """As it travels, in metadata and in operations."""

    traceparent: str
    tracestate: str


class Forwarded(Protocol):
    """A call of somebody else, on whose behalf ours is made."""

    @property
    def timeout_s(self) -> float:
        """Seconds left; whoever serves it gives ours up when there are none."""
        ...

    @property
    def trace(self) -> tuple[str, str] | None:
        """As `TraceContext`; None: it came with none."""
        ...


def propagation() -> Callable[[], TraceContext | None] | None:
    """How to find the current trace context; None in a process without OpenTelemetry.

    It is not imported here: who wants traces has done so before connecting, and
    nobody else pays for it.
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
