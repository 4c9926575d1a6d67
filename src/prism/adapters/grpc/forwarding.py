"""What of a call goes on with it to the server behind this one."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar

from prism.adapters.grpc.context import CallContext


class Forwarding:
    """A call that another server answers, within the caller's deadline and in its trace."""

    __slots__ = ("_context", "_deadline", "_loop")

    def __init__(
        self, context: CallContext, timeout_s: float, loop: asyncio.AbstractEventLoop
    ) -> None:
        self._context = context
        self._deadline = loop.time() + timeout_s
        self._loop = loop

    @property
    def timeout_s(self) -> float:
        """Seconds left; 0 when the deadline is over."""
        return max(self._deadline - self._loop.time(), 0.0)

    @property
    def trace(self) -> tuple[str, str] | None:
        """The caller's `traceparent` and `tracestate`, as they came."""
        traceparent = self._context.metadata("traceparent")
        if traceparent is None:
            return None
        return traceparent, self._context.metadata("tracestate") or ""


forwarding: ContextVar[Forwarding | None] = ContextVar("forwarding", default=None)
"""The call that is being forwarded; only a proxy forwards any."""
