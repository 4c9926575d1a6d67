"""Server spans: one for each request, which is a call or an operation in a stream.

https://www.w3.org/TR/trace-context/
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from random import getrandbits, random
from typing import NamedTuple, Protocol

from google.rpc import code_pb2, status_pb2
from opentelemetry.context import Context, attach, detach
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.network_attributes import (
    NETWORK_PEER_ADDRESS,
    NETWORK_PEER_PORT,
)
from opentelemetry.trace import (
    INVALID_SPAN,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from prism.adapters.observability.tracing.spans import RecordedSpan, SpanRecorder

# Still in development, and so in no stable module of the conventions.
RPC_SYSTEM_NAME = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code"

# Statuses that are the server's failure; the others are the caller's.
# https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
_SERVER_FAILURES = frozenset(
    {
        code_pb2.UNKNOWN,
        code_pb2.DEADLINE_EXCEEDED,
        code_pb2.UNIMPLEMENTED,
        code_pb2.INTERNAL,
        code_pb2.UNAVAILABLE,
        code_pb2.DATA_LOSS,
    }
)

_EMPTY = Context()
(_SPAN_KEY,) = set_span_in_context(INVALID_SPAN, _EMPTY)
_PROPAGATOR = TraceContextTextMapPropagator()
_UNSAMPLED_FLAGS = frozenset({"-00", "-02"})


def containing(span: Span) -> Context:
    """Return a context with nothing but this span as the current one."""
    return Context({_SPAN_KEY: span})


# Tells the driver's libraries and the servers behind this one not to sample either. Nobody
# records the trace, so all these requests share its ids.
_UNSAMPLED = containing(
    NonRecordingSpan(
        SpanContext(
            trace_id=getrandbits(128) | 1,
            span_id=getrandbits(64) | 1,
            is_remote=False,
            trace_flags=TraceFlags.get_default(),
        )
    )
)

# A context variable, because between the call and the driver lie the servicer and the gateway,
# which know nothing of tracing. OpenTelemetry's own lookup costs twenty times as much.
_request_span: ContextVar[RecordedSpan | None] = ContextVar("request_span", default=None)

current_request_span = _request_span.get
"""Return the span of the request that the running task serves; None: not sampled."""


class Request(Protocol):
    """Properties of a request that its server span needs."""

    @property
    def connection(self) -> str: ...

    def metadata(self, name: str) -> str | None: ...


class Switchable(Protocol):
    """Component that is needed only while requests are sampled."""

    def switch_on(self) -> None: ...

    def switch_off(self) -> None: ...


class _Sampled(NamedTuple):
    """Request with a span.

    Attributes:
        context: context in which the span is current.
    """

    context: Context
    span: RecordedSpan


class RequestSpans:
    """Observer of calls that starts and ends their spans.

    The caller's decision and the random number are checked before OpenTelemetry is used:
    a request that is not sampled costs half a microsecond.

    Args:
        ratio: share of the requests without a caller's decision that are sampled, 0 to 1.
    """

    def __init__(self, recorder: SpanRecorder, ratio: float) -> None:
        self._recorder = recorder
        self._ratio = ratio
        self._switchables: list[Switchable] = []
        self._open_spans = 0

    def switch(self, switchable: Switchable) -> None:
        """Switch the component off now, and on while a request is sampled."""
        switchable.switch_off()
        self._switchables.append(switchable)

    @staticmethod
    @contextmanager
    def none_sampled() -> Iterator[None]:
        """Make tasks created in this context serve unsampled requests, until `resume`.

        Most requests are not sampled, so most need no `resume`.
        """
        token = attach(_UNSAMPLED)
        try:
            yield
        finally:
            detach(token)

    def begin(self, path: str, request: Request) -> Context | _Sampled | None:
        """Decide about a request that arrived; None: it starts a trace that is not sampled."""
        traceparent = request.metadata("traceparent")
        if traceparent is not None:
            # The usual form is recognised without parsing it.
            if traceparent[52:] in _UNSAMPLED_FLAGS and traceparent[:3] == "00-":
                return containing(_UnsampledCaller(traceparent, request))
            parent = _parse(traceparent, request.metadata("tracestate"))
            caller = get_current_span(parent).get_span_context()
            if caller.is_valid:
                if caller.trace_flags.sampled:
                    return self._start(path, caller, request.connection)
                return parent
        return self.begin_root(path, request.connection)

    def begin_root(self, path: str, connection: str) -> _Sampled | None:
        """Decide about a request without metadata; None: it starts a trace that is not sampled."""
        if random() >= self._ratio:  # noqa: S311  (no secret)
            return None
        return self._start(path, None, connection)

    def resume(self, begun: object) -> None:
        """Make the running task serve this request from now on."""
        if isinstance(begun, _Sampled):
            attach(begun.context)
            _request_span.set(begun.span)
        else:
            attach(_UNSAMPLED if begun is None else begun)  # type: ignore[arg-type]
            _request_span.set(None)

    def follows(self, begun: object) -> bool:
        """Return whether the operations of this request have spans too."""
        return isinstance(begun, _Sampled)

    def end(self, begun: object, status: status_pb2.Status | None) -> None:
        """End the request's span.

        Args:
            status: status sent, or CANCELLED if the caller has gone; None: success.
        """
        if not isinstance(begun, _Sampled):
            return
        span = begun.span
        if status is not None:
            name = code_pb2.Code.Name(status.code)
            span.add_attributes({RPC_RESPONSE_STATUS_CODE: name, ERROR_TYPE: name})
            if status.code in _SERVER_FAILURES:
                span.set_status(Status(StatusCode.ERROR, status.message))
        span.end()
        self._open_spans -= 1
        if not self._open_spans:
            for switchable in self._switchables:
                switchable.switch_off()

    def _start(self, path: str, parent: SpanContext | None, connection: str) -> _Sampled:
        method = path[1:]
        attributes: dict[str, str | int] = {
            RPC_SYSTEM_NAME: "redis" if method.startswith("redis/") else "grpc",
            RPC_METHOD: method,
            # `end` overwrites it for a failure.
            RPC_RESPONSE_STATUS_CODE: "OK",
        }
        host, _, port = connection.rpartition(":")
        if port.isdigit():
            attributes[NETWORK_PEER_ADDRESS] = host
            attributes[NETWORK_PEER_PORT] = int(port)
        span = self._recorder.start(method, SpanKind.SERVER, parent, attributes)
        if not self._open_spans:
            for switchable in self._switchables:
                switchable.switch_on()
        self._open_spans += 1
        return _Sampled(containing(span), span)


class _UnsampledCaller(NonRecordingSpan):
    """Caller's span that is not sampled, parsed only if its ids are needed.

    Usually nobody needs them, and parsing costs more than everything else here.
    """

    def __init__(self, traceparent: str, request: Request) -> None:
        self._traceparent = traceparent
        self._request = request

    def get_span_context(self) -> SpanContext:
        context = _parse(self._traceparent, self._request.metadata("tracestate"))
        return get_current_span(context).get_span_context()


def _parse(traceparent: str, tracestate: str | None) -> Context:
    """Return a context with the caller's span as the current one; empty if malformed."""
    carrier: Mapping[str, str] = {"traceparent": traceparent}
    if tracestate is not None:
        carrier = {**carrier, "tracestate": tracestate}
    return _PROPAGATOR.extract(carrier, _EMPTY)
