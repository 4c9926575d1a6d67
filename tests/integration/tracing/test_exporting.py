"""Export of traces: where to, and when the collector is away."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.observability.tracing.tracing import FLUSH_TIMEOUT
from tests.servers.collector import Collector
from tests.servers.process import free_port

Start = Callable[..., Any]

GET = "prism.v1.KeyValueService/Get"


def messages(server: Any) -> list[str]:
    return [json.loads(line)["message"] for line in server.lines]


def test_spans_go_to_stdout_by_default_one_per_line(start_server: Start, prism_cli: Start) -> None:
    server = start_server("--enable-tracing").serving()
    prism_cli(server.address, "kv", "get", "k")
    server.stop()
    spans = [json.loads(line) for line in server.process.stdout]
    assert {"get", GET} <= {span["name"] for span in spans}


def test_a_command_prints_its_spans_on_stderr(shared_server: Any, prism_cli: Start) -> None:
    prism_cli(shared_server.address, "kv", "set", "traced", "v")
    got = prism_cli(shared_server.address, "kv", "get", "traced", "--enable-tracing")
    assert got.stdout == "v"
    assert [json.loads(line)["name"] for line in got.stderr.splitlines()] == [GET, "prism kv get"]


@pytest.mark.parametrize(
    ("env", "exported"),
    [
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_TRACES_SAMPLER": "always_off"}, False),
    ],
)
def test_the_standard_variables_configure_the_export(
    start_server: Start,
    collector: Collector,
    prism_cli: Start,
    env: dict[str, str],
    exported: bool,
) -> None:
    server = start_server(
        "--enable-tracing",
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_SERVICE_NAME": "orders",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            **env,
        },
    ).serving()
    prism_cli(server.address, "kv", "get", "k")
    server.stop()
    found = [span for span in collector.spans if span.name == GET]
    assert bool(found) is exported
    for span in found:
        assert span.resource["service.name"] == "orders"
        assert span.resource["deployment.environment.name"] == "test"
    assert server.process.stdout.read() == ""


def test_a_collector_on_loopback_is_called_without_an_http_proxy(
    start_traced: Start, collector: Collector, prism_cli: Start
) -> None:
    # Nobody listens there.
    server = start_traced(http_proxy="http://127.0.0.1:9", grpc_proxy="http://127.0.0.1:9")
    prism_cli(server.address, "kv", "get", "k")
    server.stop()
    assert GET in {span.name for span in collector.spans}


@pytest.mark.parametrize(
    "env", [{"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, {"OTEL_BSP_MAX_QUEUE_SIZE": "1"}]
)
def test_an_invalid_variable_ends_the_start_with_one_sentence(
    start_server: Start, env: dict[str, str]
) -> None:
    flags = ("--enable-tracing", "--trace-exporter", "otlp", "--driver", "slow")
    server = start_server(*flags, env=env)
    assert server.wait() == 1
    assert "cannot set up the trace exporter; check the OTEL_ variables" in server.log
    assert "initializing" not in server.log
    assert "Traceback" not in server.log


def test_the_last_spans_are_exported_before_the_process_ends(
    start_traced: Start, collector: Collector, prism_cli: Start
) -> None:
    server = start_traced(OTEL_BSP_SCHEDULE_DELAY="3600000")
    prism_cli(server.address, "kv", "get", "k")
    assert collector.spans == []
    server.stop()
    assert {span.name for span in collector.spans} >= {GET, "get"}
    order = ["shutting down: SIGTERM", "drained", "all traces are exported", "ended"]
    assert [m for m in messages(server) if m in order] == order


def test_a_collector_that_is_down_causes_one_warning_and_a_bounded_shutdown(
    start_traced: Start, prism_cli: Start
) -> None:
    server = start_traced(
        OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        # The exporter would retry for this long.
        OTEL_EXPORTER_OTLP_TIMEOUT="3600",
    )
    for _ in range(3):
        assert prism_cli(server.address, "kv", "set", "k", "v").returncode == 0
    server.wait_for("traces may be lost")
    began_s = time.monotonic()
    server.signal(signal.SIGTERM)
    assert server.wait() == 0
    assert time.monotonic() - began_s < FLUSH_TIMEOUT.total_seconds() + 10
    warnings = [m for m in messages(server) if m.startswith("traces may be lost")]
    assert len(warnings) == 1
    seconds = FLUSH_TIMEOUT.total_seconds()
    lost = f"traces not exported within {seconds:.3g} s are lost"
    order = ["shutting down: SIGTERM", "drained", lost, "ended"]
    assert [m for m in messages(server) if m in order] == order
    assert "Traceback" not in server.log


def test_a_log_line_of_a_request_has_the_ids_of_its_trace(
    start_traced: Start, collector: Collector, prism_cli: Start, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    release.touch()
    server = start_traced("--driver", "slow", "--slow-released-by", str(release))
    prism_cli(server.address, "kv", "get", "slow")
    line = server.wait_for("in flight")
    (backend,) = collector.wait_for("get")
    assert line["trace_id"] == backend.span.trace_id.hex()
    assert line["span_id"] == backend.span.span_id.hex()
    assert all("trace_id" not in json.loads(each) for each in server.lines[:2])
