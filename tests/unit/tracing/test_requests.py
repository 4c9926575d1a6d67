"""Server spans: which requests have one, and its contents."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.rpc import code_pb2, status_pb2
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from prism.adapters.client.propagation import trace_context_source
from tests.unit.tracing.conftest import Request

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


def test_a_request_without_a_context_starts_a_trace(traces: Any) -> None:
    (span,) = traces.serve()
    assert span.name == "prism.v1.KeyValueService/Get"
    assert span.kind is SpanKind.SERVER
    assert span.parent is None
    assert dict(span.attributes) == {
        "rpc.system.name": "grpc",
        "rpc.method": "prism.v1.KeyValueService/Get",
        "rpc.response.status_code": "OK",
        "network.peer.address": "10.0.0.7",
        "network.peer.port": 4711,
    }


def test_the_ratio_applies_to_requests_without_a_decision(unsampled: Any) -> None:
    assert unsampled.serve() == ()
    (span,) = unsampled.serve(traceparent=f"00-{TRACE}-{PARENT}-01")
    assert f"{span.context.trace_id:032x}" == TRACE


@pytest.mark.parametrize("version", ["00", "01"])
def test_a_sampled_caller_is_the_parent(traces: Any, version: str) -> None:
    (span,) = traces.serve(traceparent=f"{version}-{TRACE}-{PARENT}-01", tracestate="a=1")
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.context.trace_state.to_header() == "a=1"


@pytest.mark.parametrize("flags", ["00", "02", "08"])
def test_a_caller_that_does_not_sample_is_respected(traces: Any, flags: str) -> None:
    assert traces.serve(traceparent=f"00-{TRACE}-{PARENT}-{flags}") == ()


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "nonsense",
        f"00-{TRACE}-{PARENT}",
        f"00-{'0' * 32}-{PARENT}-01",
        f"ff-{TRACE}-{PARENT}-01",
    ],
)
def test_a_malformed_context_is_ignored(traces: Any, unsampled: Any, traceparent: str) -> None:
    (span,) = traces.serve(traceparent=traceparent)
    assert span.parent is None
    assert unsampled.serve(traceparent=traceparent) == ()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", StatusCode.UNSET),
        ("CANCELLED", StatusCode.UNSET),
        ("UNAVAILABLE", StatusCode.ERROR),
        ("INTERNAL", StatusCode.ERROR),
    ],
)
def test_a_failure_has_its_code_and_is_an_error_if_it_is_the_server_s(
    traces: Any, code: str, status: StatusCode
) -> None:
    (span,) = traces.serve(
        status=status_pb2.Status(code=code_pb2.Code.Value(code), message="the reason")
    )
    assert span.attributes["rpc.response.status_code"] == code
    assert span.attributes["error.type"] == code
    assert span.status.status_code is status


async def test_an_unsampled_context_is_forwarded_unchanged(traces: Any) -> None:
    forwarded = trace_context_source()
    assert forwarded is not None
    traceparent = f"00-{TRACE}-{PARENT}-00"
    begun = traces.requests.begin("/x", Request(traceparent=traceparent, tracestate="a=1"))
    traces.requests.resume(begun)
    assert forwarded() == (traceparent, "a=1")


async def test_tasks_of_a_server_serve_unsampled_requests_by_default(traces: Any) -> None:
    forwarded = trace_context_source()
    assert forwarded is not None

    async def context() -> Any:
        return forwarded()

    with traces.requests.none_sampled():
        server = asyncio.create_task(context())
    assert (await server).traceparent.endswith("-00")
    assert forwarded() is None


async def test_a_request_that_is_not_sampled_is_forwarded_as_unsampled(unsampled: Any) -> None:
    forwarded = trace_context_source()
    assert forwarded is not None
    unsampled.requests.resume(unsampled.requests.begin("/x", Request()))
    context = forwarded()
    assert context is not None
    assert context.traceparent.endswith("-00")


async def test_a_task_serves_the_request_that_it_resumed_last(traces: Any) -> None:
    one, other = (traces.requests.begin("/x", Request()) for _ in range(2))
    traces.requests.resume(one)
    first = trace.get_current_span()
    traces.requests.resume(other)
    assert trace.get_current_span() is not first
    not_sampled = Request(traceparent=f"00-{TRACE}-{PARENT}-00")
    traces.requests.resume(traces.requests.begin("/x", not_sampled))
    assert not trace.get_current_span().is_recording()
    assert await asyncio.create_task(_is_recording()) is False


async def _is_recording() -> bool:
    return trace.get_current_span().is_recording()
