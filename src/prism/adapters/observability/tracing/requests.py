"""A span for each request, be it a call or an operation in a stream."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from random import random
from typing import NamedTuple, Protocol

from google.rpc import code_pb2, status_pb2
from opentelemetry.context import Context, attach, detach
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.network_attributes import (
    NETWORK_PEER_ADDRESS,
    NETWORK_PEER_PORT,
)
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace import get_current_span as span_in

from prism.adapters.observability.tracing.incoming import (
    NOT_TRACED,
    Metadata,
    containing,
    context_of,
    not_sampled,
)
from prism.adapters.observability.tracing.spans import RecordedSpan, Recorder

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


_served: ContextVar[RecordedSpan | None] = ContextVar("served", default=None)

span_of_request = _served.get
"""The span of the request that the running task works for; None: it is not traced.

The same could be asked of OpenTelemetry, at twenty times the cost, with every operation."""


class Request(Metadata, Protocol):
    """What there is to know of a call."""

    @property
    def connection(self) -> str: ...


class Follower(Protocol):
    """Has something to do only while requests are traced."""

    def begin(self) -> None:
        """From now on some are."""
        ...

    def end(self) -> None:
        """None is any more."""
        ...


class _Traced(NamedTuple):
    """A request with a span.

    Attributes:
        context: in which that is the current one.
    """

    context: Context
    span: RecordedSpan


class RequestSpans:
    """Begins and ends the spans of requests; each of them is asked about once.

    The coin is tossed, and the caller's word taken, before OpenTelemetry is touched:
    a request that is not sampled costs half a microsecond.

    Args:
        ratio: of the requests that nobody before has decided about, 0 to 1.
    """

    def __init__(self, recorder: Recorder, ratio: float) -> None:
        self._recorder = recorder
        self._ratio = ratio
        self._followers: list[Follower] = []
        self._traced = 0

    def tell(self, follower: Follower) -> None:
        """Have it follow; so far no request is traced."""
        follower.end()
        self._followers.append(follower)

    @staticmethod
    @contextmanager
    def none_sampled() -> Iterator[None]:
        """Tasks that are begun in this context belong to requests that are not sampled.

        Unless they are told otherwise with `resume`: most requests need not be told.
        """
        token = attach(NOT_TRACED)
        try:
            yield
        finally:
            detach(token)

    def begin(self, path: str, request: Request) -> Context | _Traced | None:
        """A request arrived; None: it begins a trace that is not sampled."""
        traceparent = request.metadata("traceparent")
        if traceparent is not None:
            untraced = not_sampled(traceparent, request)
            if untraced is not None:
                return untraced
            parent = context_of(traceparent, request.metadata("tracestate"))
            caller = span_in(parent).get_span_context()
            if caller.is_valid:
                if caller.trace_flags.sampled:
                    return self._span(path, caller, request.connection)
                return parent
        if random() >= self._ratio:  # noqa: S311  (nothing to guess)
            return None
        return self._span(path, None, request.connection)

    def resume(self, begun: object) -> None:
        """It is worked on from here, in the running task."""
        if isinstance(begun, _Traced):
            attach(begun.context)
            _served.set(begun.span)
        else:
            attach(NOT_TRACED if begun is None else begun)  # type: ignore[arg-type]
            _served.set(None)

    def follows(self, begun: object) -> bool:
        """What is done for it has spans, too."""
        return isinstance(begun, _Traced)

    def end(self, begun: object, status: status_pb2.Status | None) -> None:
        """It ended: with the status sent, CANCELLED when its caller went, or None: it succeeded."""
        if not isinstance(begun, _Traced):
            return
        span = begun.span
        if status is not None:
            name = code_pb2.Code.Name(status.code)
            span.tell({RPC_RESPONSE_STATUS_CODE: name, ERROR_TYPE: name})
            if status.code in _OWN_FAILURES:
                span.set_status(Status(StatusCode.ERROR, status.message))
        span.end()
        self._traced -= 1
        if not self._traced:
            for follower in self._followers:
                follower.end()

    def _span(self, path: str, parent: SpanContext | None, connection: str) -> _Traced:
        method = path[1:]
        attributes: dict[str, str | int] = {
            RPC_SYSTEM_NAME: "grpc",
            RPC_METHOD: method,
            # Unless its end says otherwise.
            RPC_RESPONSE_STATUS_CODE: "OK",
        }
        host, _, port = connection.rpartition(":")
        if port.isdigit():
            attributes[NETWORK_PEER_ADDRESS] = host
            attributes[NETWORK_PEER_PORT] = int(port)
        span = self._recorder.begin(method, SpanKind.SERVER, parent, attributes)
        if not self._traced:
            for follower in self._followers:
                follower.begin()
        self._traced += 1
        return _Traced(containing(span), span)
