"""One trace from the caller to the backend, through every process in between."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import prism
from prism.v1.keyvalue_pb2 import GetRequest
from prism.version import VERSION
from tests.integration.conftest import ProxyServer
from tests.servers.collector import Collector

Start = Callable[..., Any]

GET = "prism.v1.KeyValueService/Get"

TRACER = TracerProvider(shutdown_on_exit=False).get_tracer("application")


def in_order(collector: Collector, trace_id: int) -> list[Any]:
    """Return the spans of a trace, each before its only child."""
    spans = [s for s in collector.spans if int.from_bytes(s.span.trace_id, "big") == trace_id]
    child_of = {s.span.parent_span_id: s for s in spans}
    found = [s for s in spans if s.span.parent_span_id not in {t.span.span_id for t in spans}][:1]
    while found and (child := child_of.get(found[-1].span.span_id)):
        found.append(child)
    return found


async def wait_for_spans(collector: Collector, trace_id: int, count: int) -> list[Any]:
    async with asyncio.timeout(30):
        while len(in_order(collector, trace_id)) < count:
            await asyncio.sleep(0.01)
    return in_order(collector, trace_id)


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
def test_a_command_its_server_and_the_backend_share_a_trace(
    start_traced: Start,
    export: dict[str, str],
    collector: Collector,
    prism_cli: Start,
    transport: str,
) -> None:
    server = start_traced("--transport", transport)
    assert prism_cli(server.address, "kv", "set", "k", "v").returncode == 0
    got = prism_cli(server.address, "kv", "get", "k", **export)
    assert (got.stdout, got.stderr) == ("v", "")

    command, backend = collector.wait_for("prism kv get", "get")
    of_it = [s for s in collector.spans if s.span.trace_id == command.span.trace_id]
    client = next(s for s in of_it if s.name == GET and s.kind == "client")
    served = next(s for s in of_it if s.name == GET and s.kind == "server")
    assert client.is_child_of(command)
    assert served.is_child_of(client)
    # The client asks for the capabilities first, by a call that carries the context as metadata.
    (asked,) = (s for s in of_it if s.name.endswith("/GetCapabilities"))
    assert asked.is_child_of(command)
    assert backend.is_child_of(served)
    assert (command.kind, backend.kind) == ("internal", "client")
    assert client.resource["service.instance.id"] != served.resource["service.instance.id"]


async def test_a_command_a_proxy_its_pattern_and_the_backend_share_a_trace(
    start_server: Start, export: dict[str, str], collector: Collector, prism_cli: Start
) -> None:
    proxy = start_server("--pattern", "a=memstore", env=export, kind=ProxyServer).serving()
    got = prism_cli(proxy.address, "kv", "get", "k", "--json", **export)
    assert got.returncode == 3, got.stderr
    command, *_ = collector.wait_for("prism kv get", "get")
    trace = int.from_bytes(command.span.trace_id, "big")
    asked = next(s for s in collector.spans if s.name == GET and s.is_child_of(command))
    async with asyncio.timeout(30):
        while not (spans := below(collector, trace, asked))[3:]:
            await asyncio.sleep(0.01)
    assert [(s.name, s.kind) for s in spans] == [
        (GET, "server"),
        (GET, "client"),
        (GET, "server"),
        ("get", "client"),
    ]
    assert spans[1].attributes["server.address"].startswith("unix:")
    assert "server.port" not in spans[1].attributes
    caller, *processes = [s.resource["service.instance.id"] for s in (asked, *spans)]
    assert processes[0] == processes[1]
    assert processes[2] == processes[3]
    assert len({caller, *processes}) == 3


def below(collector: Collector, trace_id: int, top: Any) -> list[Any]:
    """Return the only child of a span, the only child of that, and so on."""
    spans = [s for s in collector.spans if int.from_bytes(s.span.trace_id, "big") == trace_id]
    found = [top]
    while children := [s for s in spans if s.is_child_of(found[-1])]:
        found.append(*children)
    return found[1:]


def test_spans_follow_the_semantic_conventions(
    start_traced: Start, collector: Collector, prism_cli: Start
) -> None:
    server = start_traced()
    prism_cli(server.address, "kv", "get", "k")
    served, backend = collector.wait_for(GET, "get")
    attributes = served.attributes
    assert attributes.pop("network.peer.port") > 0
    assert attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": GET,
        "rpc.response.status_code": "OK",
        "network.peer.address": "127.0.0.1",
    }
    assert backend.attributes == {"db.system.name": "memstore", "db.operation.name": "get"}
    assert served.resource["service.name"] == "prism"
    assert served.resource["service.version"] == VERSION
    assert served.resource["service.instance.id"]


async def test_a_watch_through_a_remote_driver_is_one_trace(
    start_traced: Start, collector: Collector
) -> None:
    backend = start_traced()
    proxy = start_traced("--driver", "remote", "--remote-address", backend.address)
    watch = "prism.v1.KeyValueService/Watch"
    async with prism.connect(proxy.address) as kv:
        with TRACER.start_as_current_span("caller") as span:
            trace = span.get_span_context().trace_id
            async with kv.watch("k"):
                pass
    spans = await wait_for_spans(collector, trace, 4)
    assert [(s.name, s.kind) for s in spans] == [
        (watch, "server"),
        ("watch", "client"),
        (watch, "server"),
        ("watch", "client"),
    ]


async def test_each_operation_in_a_stream_continues_its_own_caller_s_trace(
    start_traced: Start, collector: Collector
) -> None:
    """The remote driver sends its operations through a stream too."""
    backend = start_traced()
    proxy = start_traced("--driver", "remote", "--remote-address", backend.address)

    async def get(kv: prism.Client, number: int) -> int:
        with TRACER.start_as_current_span(f"caller {number}") as span:
            await kv.get(f"key {number}")
            return span.get_span_context().trace_id

    async with prism.connect(proxy.address) as kv:
        traces = await asyncio.gather(*(get(kv, number) for number in range(5)))
    assert len(set(traces)) == 5
    for trace in traces:
        spans = await wait_for_spans(collector, trace, 4)
        assert [(s.name, s.kind) for s in spans] == [
            (GET, "server"),
            ("get", "client"),
            (GET, "server"),
            ("get", "client"),
        ]
        instances = [s.resource["service.instance.id"] for s in spans]
        assert instances[0] == instances[1] != instances[2] == instances[3]


async def test_no_server_samples_what_its_caller_does_not(
    start_traced: Start, collector: Collector
) -> None:
    backend = start_traced()
    proxy = start_traced("--driver", "remote", "--remote-address", backend.address)
    unsampled = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("unsampled")
    with unsampled.start_as_current_span("caller"):
        async with prism.connect(proxy.address) as kv:
            await kv.set("k", b"v")
            await kv.get("k")
    proxy.stop()
    backend.stop()
    # The remote driver's first call, outside any request.
    assert {s.name for s in collector.spans} == {"prism.v1.KeyValueService/GetCapabilities"}
    assert len(collector.spans) == 1


@pytest.mark.parametrize("transport", ["h2corn", "grpcio"])
async def test_a_server_forwards_its_decision_not_to_sample(
    start_traced: Start, collector: Collector, transport: str
) -> None:
    backend = start_traced()
    proxy = start_traced(
        *("--driver", "remote", "--remote-address", backend.address, "--trace-ratio", "0"),
        *("--transport", transport),
    )
    async with prism.connect(proxy.address) as kv:
        await kv.set("k", b"v")
    # A unary call takes another path than operations in a stream.
    async with grpc.aio.insecure_channel(proxy.address) as channel:
        get: Any = channel.unary_unary(f"/{GET}")
        await get(GetRequest(key="k").SerializeToString())
    proxy.stop()
    backend.stop()
    assert {s.name for s in collector.spans} <= {"prism.v1.KeyValueService/GetCapabilities"}
