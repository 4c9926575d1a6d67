from __future__ import annotations

import asyncio
from typing import Any

import pytest
from dependency_injector import providers
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from prism.adapters.grpc.calls import Rejected, UnaryCall
from prism.adapters.memstore import Memstore
from prism.adapters.observability.metrics import exposition
from prism.ports import BackendUnavailable, Entry, NotServing, VersionConflict
from prism.v1 import keyvalue_pb2 as pb
from tests.unit.observability.conftest import Build

GET = "prism.v1.KeyValueService/Get"
OPERATION = {"driver": "memstore", "operation": "get"}


class Context:
    connection = "c"
    pattern = ""
    authorization = None
    certificate = ""
    timeout_s = None

    def metadata(self, name: str) -> str | None:
        return None


class Flaky(Memstore):
    """Store whose gets of some keys fail or hang."""

    async def get(self, key: str) -> Entry | None:
        class ConnectionLost(BackendUnavailable):
            pass

        if key == "lost":
            raise ConnectionLost("gone")
        if key == "broken":
            raise ZeroDivisionError
        if key == "held":
            await asyncio.Event().wait()
        return await super().get(key)


def get_of(assembly: Any) -> UnaryCall:
    call = assembly.container.common.services().calls[f"/{GET}"]
    assert isinstance(call, UnaryCall)
    return call


def request(key: str) -> bytes:
    return pb.GetRequest(key=key).SerializeToString()


async def test_all_series_but_histograms_and_errors_exist_from_the_start(build: Build) -> None:
    assembly = build()
    assert assembly.value("backend_driver_requests_total", **OPERATION) == 0
    assert assembly.value("backend_driver_request_duration_seconds_count", **OPERATION) is None
    assert assembly.value("backend_driver_connections_active", driver="memstore") == 0
    assert assembly.value("backend_driver_info", driver="memstore", version="0.1.0") == 1
    assert assembly.value("rpc_server_calls_total", rpc_method=GET) == 0
    assert assembly.value("rpc_server_calls_in_flight", rpc_method=GET) == 0
    assert assembly.value("rpc_server_stream_operations_total", rpc_method=GET) == 0
    assert assembly.value("prism_lifecycle_state", state="created") == 1
    assert assembly.value("prism_lifecycle_state", state="running") == 0
    assert assembly.value("prism_ready") == 0
    uptime = assembly.value("prism_uptime_seconds")
    assert uptime is not None
    assert uptime >= 0
    names = {name for name, _ in assembly.series()}
    assert {"process_cpu_seconds_total", "python_info", "python_gc_collections_total"} <= names


async def test_a_call_is_counted_at_arrival_and_at_its_end(build: Build) -> None:
    assembly = build()
    await assembly.run()
    await get_of(assembly)(request("k"), Context())
    with pytest.raises(Rejected):
        await get_of(assembly)(request(""), Context())
    assert assembly.value("rpc_server_calls_total", rpc_method=GET) == 2
    assert assembly.value("rpc_server_call_duration_seconds_count", rpc_method=GET) == 2
    code = "INVALID_ARGUMENT"
    labels = {"rpc_method": GET, "rpc_response_status_code": code}
    assert assembly.value("rpc_server_errors_total", **labels) == 1
    assert assembly.value("backend_driver_requests_total", **OPERATION) == 1
    assert assembly.value("backend_driver_request_duration_seconds_count", **OPERATION) == 1
    bucket = "backend_driver_request_duration_seconds_bucket"
    assert assembly.value(bucket, **OPERATION, le="+Inf") == 1


async def test_a_running_call_is_in_flight(build: Build) -> None:
    assembly = build(providers.Object(Flaky()))
    await assembly.run()
    running = asyncio.create_task(get_of(assembly)(request("held"), Context()))
    await asyncio.sleep(0)
    assert assembly.value("rpc_server_calls_in_flight", rpc_method=GET) == 1
    assert assembly.value("prism_operations_in_flight") == 1
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert assembly.value("rpc_server_calls_in_flight", rpc_method=GET) == 0
    errors = "backend_driver_errors_total"
    assert assembly.value(errors, **OPERATION, error_type="Cancelled") == 1


async def test_errors_are_named_after_the_ports_errors(build: Build) -> None:
    assembly = build(providers.Object(Flaky()))
    await assembly.run()
    for _ in range(3):
        with pytest.raises(BackendUnavailable):
            await assembly.gateway.get("lost")
    with pytest.raises(ZeroDivisionError):
        await assembly.gateway.get("broken")
    await assembly.gateway.set("k", b"")
    with pytest.raises(VersionConflict):
        await assembly.gateway.compare_and_set("k", b"", expected=None)
    errors = {
        dict(labels)["error_type"]: value
        for (name, labels), value in assembly.series().items()
        if name == "backend_driver_errors_total"
    }
    assert errors == {"BackendUnavailable": 3, "Internal": 1, "VersionConflict": 1}


async def test_callers_cannot_create_series(build: Build) -> None:
    assembly = build()
    await assembly.run()
    await assembly.gateway.set("k", b"")
    await get_of(assembly)(request("k"), Context())
    before = assembly.series().keys()
    for number in range(100):
        key = f"key-{number}"
        await assembly.gateway.set(key, key.encode())
        await get_of(assembly)(request(key), Context())
    assert assembly.series().keys() == before


async def test_refused_and_shed_operations_are_counted_apart(build: Build) -> None:
    assembly = build()
    with pytest.raises(NotServing):
        await assembly.gateway.get("k")
    assert assembly.value("prism_operations_refused_total") == 1
    assert assembly.value("prism_operations_shed_total") == 0


async def test_unread_replies_and_connections_are_shown(build: Build) -> None:
    assembly = build()
    assembly.container.common.admission().unread.add("a", 100_000)
    assert (assembly.value("prism_unread_reply_bytes") or 0) > 100_000
    for name in ("connections", "connections_refused_total", "calls_stalled_total"):
        assert assembly.value(f"prism_{name}") == 0


async def test_the_last_health_check_is_shown_while_the_driver_is_up(build: Build) -> None:
    assembly = build()
    await assembly.run()
    await assembly.gateway.set("key", b"value")
    checking = asyncio.create_task(assembly.container.readiness().watch())
    async with asyncio.timeout(30):
        while assembly.value("backend_driver_keys", driver="memstore") is None:
            await asyncio.sleep(0)
    checking.cancel()
    assert assembly.value("backend_driver_keys", driver="memstore") == 1
    assert assembly.value("backend_driver_bytes", driver="memstore") == 8
    assert assembly.value("backend_driver_expired_keys_total", driver="memstore") == 0
    assert assembly.value("prism_ready") == 1
    await assembly.lifecycle.stop()
    assert assembly.value("backend_driver_keys", driver="memstore") is None
    assert assembly.value("prism_lifecycle_state", state="stopped") == 1


async def test_open_watches_are_counted(build: Build) -> None:
    assembly = build()
    await assembly.run()
    async with assembly.gateway.watch(""):
        assert assembly.value("backend_driver_watches_active", driver="memstore") == 1
    assert assembly.value("backend_driver_watches_active", driver="memstore") == 0


async def test_limits_have_metrics_of_their_own(build: Build) -> None:
    assembly = build(max_in_flight=7, max_watches=3)
    assert assembly.value("prism_operations_in_flight_limit") == 7
    assert assembly.value("backend_driver_watches_limit", driver="memstore") == 3
    assert assembly.value("backend_driver_keys_limit", driver="memstore") is None


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/plain;version=0.0.4", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_the_default_is_the_prometheus_format(
    build: Build, accept: str, content_type: str
) -> None:
    found, text = build().container.common.metrics().render(accept)
    assert found == content_type
    assert b"# EOF" not in text


async def test_open_metrics_is_served_on_request(build: Build) -> None:
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3"
    content_type, text = build().container.common.metrics().render(accept)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert list(text_string_to_metric_families(text.decode()))  # type: ignore[no-untyped-call]


async def test_scrapes_within_a_second_share_a_text(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exposition, "_MAX_AGE_S", 60.0)
    assembly = build()
    await assembly.lifecycle.initialize({})
    before = assembly.container.common.metrics().render("")
    await assembly.lifecycle.start()
    assert assembly.container.common.metrics().render("") == before
    monkeypatch.setattr(exposition, "_MAX_AGE_S", 0.0)
    assert assembly.container.common.metrics().render("") != before
