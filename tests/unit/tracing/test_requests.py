"""Which requests get a span, and what it says."""

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


def test_a_request_without_a_caller_s_word_begins_a_trace(traces: Any) -> None:
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


def test_the_ratio_is_of_the_requests_that_nobody_has_decided_about(untraced: Any) -> None:
    assert untraced.serve() == ()
    (span,) = untraced.serve(traceparent=f"00-{TRACE}-{PARENT}-01")
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
def test_a_malformed_context_is_as_none(traces: Any, untraced: Any, traceparent: str) -> None:
    (span,) = traces.serve(traceparent=traceparent)
    assert span.parent is None
    assert untraced.serve(traceparent=traceparent) == ()


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("INVALID_ARGUMENT", StatusCode.UNSET),
        ("CANCELLED", StatusCode.UNSET),
        ("UNAVAILABLE", StatusCode.ERROR),
        ("INTERNAL", StatusCode.ERROR),
    ],
)
def test_a_failure_is_told_and_is_an_error_where_it_is_the_server_s_own(
    traces: Any, code: str, status: StatusCode
) -> None:
    (span,) = traces.serve(
        status=status_pb2.Status(code=code_pb2.Code.Value(code), message="the reason")
    )
    assert span.attributes["rpc.response.status_code"] == code
    assert span.attributes["error.type"] == code
    assert span.status.status_code is status


async def test_what_is_not_sampled_is_handed_on_as_it_came(traces: Any) -> None:
    hand_on = trace_context_source()
    assert hand_on is not None
    traceparent = f"00-{TRACE}-{PARENT}-00"
    begun = traces.requests.begin("/x", Request(traceparent=traceparent, tracestate="a=1"))
    traces.requests.resume(begun)
    assert hand_on() == (traceparent, "a=1")


async def test_tasks_of_a_server_belong_to_requests_that_are_not_sampled(traces: Any) -> None:
    hand_on = trace_context_source()
    assert hand_on is not None

    async def handed_on() -> Any:
        return hand_on()

    with traces.requests.none_sampled():
        server = asyncio.create_task(handed_on())
    assert (await server).traceparent.endswith("-00")
    assert hand_on() is None


async def test_a_toss_that_was_lost_is_handed_on_as_such(untraced: Any) -> None:
    hand_on = trace_context_source()
    assert hand_on is not None
    untraced.requests.resume(untraced.requests.begin("/x", Request()))
    context = hand_on()
    assert context is not None
    assert context.traceparent.endswith("-00")


async def test_a_task_that_takes_one_request_after_another_works_for_the_last(traces: Any) -> None:
    one, other = (traces.requests.begin("/x", Request()) for _ in range(2))
    traces.requests.resume(one)
    first = trace.get_current_span()
    traces.requests.resume(other)
    assert trace.get_current_span() is not first
    unsampled = Request(traceparent=f"00-{TRACE}-{PARENT}-00")
    traces.requests.resume(traces.requests.begin("/x", unsampled))
    assert not trace.get_current_span().is_recording()
    assert await asyncio.create_task(_is_recording()) is False


async def _is_recording() -> bool:
    return trace.get_current_span().is_recording()
