"""Client spans around the operations of sampled requests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.adapters.observability.tracing.operations import (
    TracedOperations,
    database_spans,
    rpc_spans,
)
from prism.ports import Put, VersionConflict, WatchEnded
from tests.unit.tracing.conftest import Request


@pytest.fixture
async def driver(traces: Any) -> Any:
    inner = Memstore()
    await inner.initialize(MemstoreSettings())
    await inner.start()
    yield TracedOperations(inner, traces.recorder, database_spans("memstore"))
    await inner.stop()


async def test_an_operation_outside_a_request_has_no_span(driver: Any, traces: Any) -> None:
    await driver.set("k", b"v")
    assert (await driver.get("k")).value == b"v"
    assert traces.ended == ()


async def test_an_operation_is_a_child_of_its_request(
    driver: Any, traces: Any, sampled_request: Any
) -> None:
    await driver.get("k")
    (span,) = traces.ended
    assert span.kind is SpanKind.CLIENT
    assert span.parent.span_id == sampled_request.get_span_context().span_id
    assert dict(span.attributes) == {"db.system.name": "memstore", "db.operation.name": "get"}


async def test_the_span_of_a_batch_has_its_size(
    driver: Any, traces: Any, sampled_request: Any
) -> None:
    await driver.set_many([Put("a", b""), Put("b", b"")])
    await driver.get_many(["a"])
    many, one = traces.ended
    assert many.attributes["db.operation.name"] == "BATCH set"
    assert many.attributes["db.operation.batch.size"] == 2
    assert one.attributes["db.operation.name"] == "get_many"
    assert "db.operation.batch.size" not in one.attributes


async def test_a_failure_has_its_reason(driver: Any, traces: Any, sampled_request: Any) -> None:
    await driver.set("k", b"v")
    with pytest.raises(VersionConflict):
        await driver.compare_and_set("k", b"w", expected=None)
    span = traces.ended[-1]
    assert span.attributes["error.type"] == "VERSION_CONFLICT"
    assert span.status.status_code is StatusCode.ERROR
    assert span.events == ()


async def test_the_span_is_current_inside_the_driver(traces: Any, sampled_request: Any) -> None:
    class Driver:
        async def get(self, key: str) -> Any:
            return get_current_span()

    inner = await TracedOperations(Driver(), traces.recorder, database_spans("x")).get("k")
    assert inner.get_span_context() == traces.ended[0].context
    assert get_current_span() is sampled_request


async def test_the_span_of_a_watch_lasts_as_long_as_the_watch(
    driver: Any, traces: Any, sampled_request: Any
) -> None:
    async with driver.watch("k") as events:
        assert get_current_span() is sampled_request
        await driver.set("k", b"v")
        assert (await anext(events)).key == "k"
        assert [span.name for span in traces.ended] == ["set"]
    span = traces.ended[-1]
    assert dict(span.attributes) == {"db.system.name": "memstore", "db.operation.name": "watch"}
    assert span.parent.span_id == sampled_request.get_span_context().span_id
    assert span.status.status_code is StatusCode.UNSET


async def test_the_span_of_a_watch_has_the_reason_of_its_end(
    driver: Any, traces: Any, sampled_request: Any
) -> None:
    with pytest.raises(WatchEnded):
        async with driver.watch():
            raise WatchEnded("it fell behind")
    assert traces.ended[-1].attributes["error.type"] == "WATCH_ENDED"


async def test_the_span_of_a_watch_is_current_while_it_opens(
    traces: Any, sampled_request: Any
) -> None:
    class Driver:
        @asynccontextmanager
        async def watch(self, prefix: str = "") -> AsyncIterator[Any]:
            yield get_current_span()

    driver = TracedOperations(Driver(), traces.recorder, database_spans("x"))
    async with driver.watch(prefix="k") as inner:
        pass
    assert inner.get_span_context() == traces.ended[0].context


async def test_without_sampled_requests_an_operation_is_the_driver_s_own_method(
    traces: Any,
) -> None:
    inner = Memstore()
    driver = TracedOperations(inner, traces.recorder, database_spans("memstore"))
    traces.requests.switch(driver)
    assert driver.get == inner.get
    one, other = (traces.requests.begin("/x", Request()) for _ in range(2))
    traces.requests.end(one, None)
    assert driver.get != inner.get
    traces.requests.end(other, None)
    assert driver.get == inner.get


async def test_other_attributes_are_the_driver_s(driver: Any) -> None:
    assert driver.profile.driver == "memstore"
    with pytest.raises(AttributeError):
        _ = driver.no_such_thing


async def test_calls_of_a_client_are_named_like_the_server_s(
    traces: Any, sampled_request: Any
) -> None:
    class Client:
        async def ttl(self, key: str) -> None:
            return None

    await TracedOperations(Client(), traces.recorder, rpc_spans("[::1]:9090")).ttl("k")
    (span,) = traces.ended
    assert span.name == "prism.v1.KeyValueService/GetTtl"
    assert span.attributes["server.address"] == "[::1]"
    assert span.attributes["server.port"] == 9090
