"""Trace context of a caller, through a proxy with and without tracing."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from prism.adapters.observability.tracing.requests import RequestSpans
from prism.adapters.observability.tracing.spans import SpanRecorder
from prism.ports import Entry
from prism.v1 import keyvalue_pb2 as pb
from tests.integration.forwarding.fakes import OPERATE, Proxy

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
CONTEXT = (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("tracestate", "vendor=opaque"))


async def _get(proxy: Proxy, metadata: Any) -> None:
    channel: Any
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        call = channel.unary_unary("/prism.v1.KeyValueService/Get")
        await call(pb.GetRequest(key="k").SerializeToString(), metadata=metadata)


async def _operate(proxy: Proxy, *context: tuple[str, str]) -> None:
    channel: Any
    operation = pb.Operation(id=1, get=pb.GetRequest(key="k"))
    for name, text in context:
        setattr(operation, name, text)
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        call = channel.stream_stream(OPERATE)()
        await call.write(pb.OperateRequest(operations=[operation]).SerializeToString())
        await call.read()


async def test_proxy_without_tracing_forwards_the_trace_context_of_a_call(proxy: Proxy) -> None:
    await _get(proxy, CONTEXT)
    assert proxy.a.seen.traces[-1] == tuple(value for _, value in CONTEXT)


async def test_proxy_without_tracing_forwards_the_trace_context_of_an_operation(
    proxy: Proxy,
) -> None:
    await _operate(proxy, *CONTEXT)
    assert proxy.a.seen.traces[-1] == tuple(value for _, value in CONTEXT)


async def test_no_trace_context_is_invented(proxy: Proxy) -> None:
    await _get(proxy, None)
    await _operate(proxy)
    assert proxy.a.seen.traces[-2:] == [(None, None), (None, None)]


async def test_watch_carries_the_trace_context(proxy: Proxy) -> None:
    channel: Any
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        call = channel.unary_stream("/prism.v1.KeyValueService/Watch")(
            pb.WatchRequest().SerializeToString(), metadata=CONTEXT
        )
        assert pb.WatchResponse.FromString(await call.read()).HasField("started")
    assert proxy.a.seen.paths[-1] == "Watch"
    assert proxy.a.seen.traces[-1] == tuple(value for _, value in CONTEXT)


async def test_only_traced_operations_use_the_ports(idle: Proxy) -> None:
    """All other operations are relayed as messages, which costs less."""
    await idle.a.launch()
    asked: list[str] = []
    gateway: Any = idle.a.gateway
    get = gateway.driver.get

    async def noted(key: str) -> Entry | None:
        asked.append(key)
        entry: Entry | None = await get(key)
        return entry

    gateway.driver.get = noted
    recorder = SpanRecorder(Resource({}), InstrumentationScope("test"))
    await idle.serve(observer=RequestSpans(recorder, 0.0))
    await _operate(idle)
    await _operate(idle, ("traceparent", f"00-{TRACE}-{SPAN}-00"))
    assert asked == []
    await _operate(idle, *CONTEXT)
    assert asked == ["k"]


@pytest.mark.parametrize("streams", [True, False], ids=["stream", "unary"])
async def test_span_of_a_tracing_proxy_is_the_parent_at_the_pattern(
    idle: Proxy, streams: bool
) -> None:
    exporter = InMemorySpanExporter()
    recorder = SpanRecorder(Resource({}), InstrumentationScope("test"))
    recorder.use(SimpleSpanProcessor(exporter))
    await idle.a.launch()
    await idle.serve(observer=RequestSpans(recorder, 0.0))
    if streams:
        await _operate(idle, *CONTEXT)
    else:
        await _get(idle, CONTEXT)
    (span,) = exporter.get_finished_spans()
    assert span.parent is not None
    assert f"{span.parent.span_id:016x}" == SPAN
    traceparent = f"00-{TRACE}-{span.context.span_id:016x}-01"
    assert idle.a.seen.traces[-1] == (traceparent, "vendor=opaque")
