"""Metrics and logs of a server with default settings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from prism.adapters.client import connect
from prism.ports import Put
from tests.integration.observability.conftest import Deployed, Get

_SLOW_S = 0.1

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def series(text: str) -> Series:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_operations_are_counted_for_every_driver(
    deployed: Deployed, start_server: Any, get: Get, in_thread: Callable[..., Any]
) -> None:
    server = start_server(*deployed.flags).serving()
    async with connect(server.address) as kv:
        await kv.set("k", b"v")
        await kv.get("k")
        await kv.get_many(["k", "absent"])
        await kv.set_many([Put("a", b""), Put("b", b""), Put("c", b"")])
    scraped = series((await in_thread(get, server.metrics_address, "/metrics")).text)

    def of(name: str, operation: str) -> float:
        return scraped[name, frozenset({"driver": deployed.driver, "operation": operation}.items())]

    requests = "backend_driver_requests_total"
    assert [of(requests, each) for each in ("set", "get", "get_many", "set_many")] == [1] * 4
    assert of("backend_driver_batch_items_total", "get_many") == 2
    assert of("backend_driver_batch_items_total", "set_many") == 3
    assert of("backend_driver_request_duration_seconds_count", "get") == 1
    names = {name for name, _ in scraped}
    assert "backend_driver_connections_active" in names
    assert "backend_driver_info" in names


def test_the_format_follows_the_accept_header(shared_server: Any, get: Get) -> None:
    address = shared_server.metrics_address
    plain = get(address, "/metrics")
    assert plain.content_type.startswith("text/plain; version=0.0.4")
    accept = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"
    opened = get(address, "/metrics", accept)
    assert opened.content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n")


async def test_only_a_slow_request_is_logged(
    start_server: Any, tmp_path: Path, in_thread: Callable[..., Any]
) -> None:
    release = tmp_path / "release"
    flags = ("--driver", "slow", "--slow-released-by", str(release), "--slow-request", "50ms")
    server = start_server(*flags).serving()
    async with connect(server.address) as kv:
        for number in range(20):
            await kv.set(f"quick {number}", b"")
        reading = in_thread(server.wait_for, "in flight")
        slow = asyncio.create_task(kv.get("slow"))
        await reading
        asyncio.get_running_loop().call_later(_SLOW_S, release.touch)
        await slow
    event = await in_thread(server.wait_for, "/prism.v1.KeyValueService/Get was slow")
    assert event["level"] == "warning"
    assert event["duration_ms"] >= 50
    assert (event["service"], event["driver"]) == ("prism", "slow")
    # A busy machine makes one or the other slow, and not all.
    assert server.log.count("/prism.v1.KeyValueService/Set") < 20


@pytest.mark.parametrize("flags", [(), ("--log-format", "json")])
def test_every_line_on_stderr_is_a_json_event(start_server: Any, flags: tuple[str, ...]) -> None:
    server = start_server("--debug", *flags).serving()
    server.stop()
    assert server.lines
    for line in server.lines:
        event = json.loads(line)
        assert {"time", "level", "message", "service", "version", "driver"} <= event.keys()
