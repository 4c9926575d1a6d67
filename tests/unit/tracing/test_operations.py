"""A client span around each operation of a request that is traced, and of no other."""

from __future__ import annotations

from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode, get_current_span

from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.adapters.observability.tracing.operations import (
    TracedOperations,
    as_database,
    as_server,
)
from prism.ports import Put, VersionConflict


@pytest.fixture
async def driver(traces: Any) -> Any:
    inner = Memstore()
    await inner.initialize(MemstoreSettings())
    await inner.start()
    yield TracedOperations(inner, traces.tracer, as_database("memstore"))
    await inner.stop()


async def test_outside_of_a_request_nothing_is_traced(driver: Any, traces: Any) -> None:
    await driver.set("k", b"v")
    assert (await driver.get("k")).value == b"v"
    assert traces.ended == ()


async def test_an_operation_is_a_child_of_its_request(
    driver: Any, traces: Any, traced_request: Any
) -> None:
    await driver.get("k")
    (span,) = traces.ended
    assert span.kind is SpanKind.CLIENT
    assert span.parent.span_id == traced_request.get_span_context().span_id
    assert dict(span.attributes) == {"db.system.name": "memstore", "db.operation.name": "get"}


async def test_batches_tell_their_size(driver: Any, traces: Any, traced_request: Any) -> None:
    await driver.set_many([Put("a", b""), Put("b", b"")])
    await driver.get_many(["a"])
    many, one = traces.ended
    assert many.attributes["db.operation.name"] == "BATCH set"
    assert many.attributes["db.operation.batch.size"] == 2
    assert one.attributes["db.operation.name"] == "get_many"
    assert "db.operation.batch.size" not in one.attributes


async def test_a_failure_is_told_by_its_reason(
    driver: Any, traces: Any, traced_request: Any
) -> None:
    await driver.set("k", b"v")
    with pytest.raises(VersionConflict):
        await driver.compare_and_set("k", b"w", expected=None)
    span = traces.ended[-1]
    assert span.attributes["error.type"] == "VERSION_CONFLICT"
    assert span.status.status_code is StatusCode.ERROR
    assert span.events == ()


async def test_the_span_is_current_inside_the_driver(traces: Any, traced_request: Any) -> None:
    class Driver:
        async def get(self, key: str) -> Any:
            return get_current_span()

    inner = await TracedOperations(Driver(), traces.tracer, as_database("x")).get("k")
    assert inner.get_span_context() == traces.ended[0].context
    assert get_current_span() is traced_request


async def test_what_is_no_operation_is_the_driver_s_own(driver: Any) -> None:
    assert driver.profile.driver == "memstore"
    with pytest.raises(AttributeError):
        _ = driver.no_such_thing


async def test_the_calls_of_a_client_are_named_as_the_server_names_them(
    traces: Any, traced_request: Any
) -> None:
    class Client:
        async def ttl(self, key: str) -> None:
            return None

    await TracedOperations(Client(), traces.tracer, as_server("[::1]:9090")).ttl("k")
    (span,) = traces.ended
    assert span.name == "prism.v1.KeyValueService/GetTtl"
    assert span.attributes["server.address"] == "[::1]"
    assert span.attributes["server.port"] == 9090
