"""A span for each request, be it a call or an operation in a stream."""

from __future__ import annotations

from random import random
from typing import NamedTuple, Protocol

from google.rpc import code_pb2, status_pb2
from opentelemetry.context import Context, attach
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.network_attributes import (
    NETWORK_PEER_ADDRESS,
    NETWORK_PEER_PORT,
)
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace import get_current_span as span_in

from prism.adapters.observability.tracing.incoming import (
    NO_PARENT,
    NOT_TRACED,
    Metadata,
    context_of,
    not_sampled,
)
from prism.adapters.observability.tracing.sampler import DECIDED

# Still in development, and so in no module that may be relied on.
RPC_SYSTEM_NAME = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code"

# What a server reports as its own failure; the rest is the caller's.
# https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
_OWN_FAILURES = frozenset(
    {
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    }
)


class Request(Metadata, Protocol):
    """What there is to know of a call."""

    @property
    def connection(self) -> str: ...


class _Traced(NamedTuple):
    """A request with a span.

    Attributes:
        context: in which that is the current one.
    """

    context: Context
    span: Span


class RequestSpans:
    """Begins and ends the spans of requests; each of them is asked about once.

    The coin is tossed, and the caller's word taken, before OpenTelemetry is touched:
    a request that is not sampled costs about a microsecond.

    Args:
        ratio: of the requests that nobody before has decided about, 0 to 1.
    """

    def __init__(self, tracer: Tracer, ratio: float) -> None:
        self._tracer = tracer
        self._ratio = ratio

    def begin(self, path: str, request: Request) -> object:
        """A request arrived; what is returned is for `resume` and `end`."""
        traceparent = request.metadata("traceparent")
        parent = NO_PARENT
        if traceparent is not None:
            untraced = not_sampled(traceparent, request)
            if untraced is not None:
                return untraced
            parent = context_of(traceparent, request.metadata("tracestate"))
            caller = span_in(parent).get_span_context()
            if not caller.is_valid:
                parent = NO_PARENT
            elif not caller.trace_flags.sampled:
                return parent
        if parent is NO_PARENT:
            if random() >= self._ratio:  # noqa: S311  (nothing to guess)
                return NOT_TRACED
            parent = DECIDED
        return self._span(path, parent, request.connection)

    def resume(self, begun: object) -> None:
        """It is worked on from here, in the running task."""
        attach(begun.context if isinstance(begun, _Traced) else begun)  # type: ignore[arg-type]

    def end(self, begun: object, status: status_pb2.Status | None) -> None:
        """It ended: with the status sent, CANCELLED when its caller went, or None: it succeeded."""
        if not isinstance(begun, _Traced):
            return
        span = begun.span
        if status is None:
            span.set_attribute(RPC_RESPONSE_STATUS_CODE, "OK")
        else:
            name = code_pb2.Code.Name(status.code)
            span.set_attributes({RPC_RESPONSE_STATUS_CODE: name, ERROR_TYPE: name})
            if status.code in _OWN_FAILURES:
                span.set_status(Status(StatusCode.ERROR, status.message))
        span.end()

    def _span(self, path: str, parent: Context, connection: str) -> _Traced:
        method = path[1:]
        attributes: dict[str, str | int] = {RPC_SYSTEM_NAME: "grpc", RPC_METHOD: method}
        host, _, port = connection.rpartition(":")
        if port.isdigit():
            attributes[NETWORK_PEER_ADDRESS] = host
            attributes[NETWORK_PEER_PORT] = int(port)
        span = self._tracer.start_span(method, parent, kind=SpanKind.SERVER, attributes=attributes)
        return _Traced(set_span_in_context(span, parent), span)
