"""Secrets are planted in every input and must not appear in any output."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
import pytest

from prism.v1 import keyvalue_pb2 as kv
from prism.v1 import lifecycle_pb2 as lifecycle
from tests.integration.observability.planted import (
    DEPLOYMENTS,
    HEADER,
    KEY,
    KEY_MARKERS,
    MALFORMED,
    SECRET_MARKERS,
    TOKEN,
    VALUE,
    WRONG_TOKEN,
    Planted,
)
from tests.servers.collector import Collector
from tests.servers.process import TIMEOUT_S, free_port

KEY_VALUE, LIFECYCLE = "/prism.v1.KeyValueService/", "/prism.v1.LifecycleService/"
BYTES = VALUE.encode()

Get = Callable[..., Any]


@pytest.fixture(params=DEPLOYMENTS)
def deployment(request: Any, certificate: tuple[Path, Path]) -> Iterator[Planted]:
    with DEPLOYMENTS[request.param](certificate) as up:
        yield up


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as up:
        yield up


@pytest.mark.parametrize("form", ["json", "text"])
async def test_no_output_has_a_secret_a_key_or_a_value(
    deployment: Planted,
    start_server: Any,
    get: Get,
    collector: Collector,
    tmp_path: Path,
    form: str,
) -> None:
    token = tmp_path / "token"
    token.write_text(TOKEN)
    flags = (*deployment.flags, "--admin-token-file", str(token), "--debug", "--log-format", form)
    metrics = f"127.0.0.1:{free_port()}"
    server = start_server(
        *flags,
        *("--grpc-port", "0", "--metrics-port", metrics.rpartition(":")[2]),
        *("--enable-tracing", "--trace-exporter", "otlp" if form == "json" else "stdout"),
        free_ports=False,
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint,
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization={HEADER},{MALFORMED}",
        },
    )
    address = await until_serving(server)
    received = [status async for status in statuses(address, deployment)]
    pages = await asyncio.to_thread(every_page, get, metrics)
    server.stop()
    spans = [f"{span.resource} {span.span}" for span in collector.spans]
    spans.append(server.process.stdout.read())
    shown = await asyncio.to_thread(config_show, flags, tmp_path)

    # The outputs are complete: each search below has something to search.
    assert KEY_VALUE + "Increment" in server.log
    assert "traces may be lost" in server.log or form == "text"
    assert any("BATCH set" in span for span in spans)
    assert {"/", "/health", "/metrics", "/ready"} <= set(pages)
    assert {"INVALID_ARGUMENT", "PERMISSION_DENIED", "FAILED_PRECONDITION"} <= set(
        re.findall(r"StatusCode\.(\w+)", "\n".join(received))
    )
    public = {
        "the log": server.log,
        "the spans": "\n".join(spans),
        "the metrics": pages["/metrics"],
        "config show": shown,
    }
    # A status may quote what its caller sent, and the page shows these statuses.
    quoting = {"the statuses": "\n".join(received), "the pages": "\n".join(pages.values())}
    markers = (*SECRET_MARKERS, *deployment.secrets)
    assert found({**public, **quoting}, markers) == []
    assert found(public, KEY_MARKERS) == []


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_rejected_password_is_not_logged(
    deployment: Planted, start_server: Any, form: str
) -> None:
    if deployment.backend is None:
        token = ("--admin-token", f"{TOKEN}\n")
        server = start_server(*deployment.flags, *token, "--log-format", form)
    else:
        changed = [part.replace("pa2planted", "wr2planted") for part in deployment.flags]
        server = start_server(*changed, "--debug", "--log-format", form)
    assert server.wait() != 0
    assert server.lines
    assert found({"the log": server.log}, SECRET_MARKERS) == []


async def until_serving(server: Any) -> str:
    """Return the gRPC address from the log, which is JSON or text."""
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            for line in list(server.lines):
                where = re.search(r"grpc_address(?:=|\": \")([\d.]+:\d+)", line)
                if where is not None:
                    return where[1]
            assert server.process.poll() is None, server.log
            await asyncio.sleep(0.01)


async def statuses(address: str, deployment: Planted) -> Any:
    """Yield what callers receive from calls that succeed, fail, or time out."""
    if deployment.certificate is None:
        channel = grpc.aio.insecure_channel(address)
    else:
        trusted = grpc.ssl_channel_credentials(deployment.certificate.read_bytes())
        channel = grpc.aio.secure_channel(address, trusted)
    async with channel:
        for path, request, token in calls(deployment.commanded):
            yield await status_of(channel, path, request, token)
        if deployment.backend is not None:
            await deployment.backend.pause()
            yield await status_of(channel, KEY_VALUE + "Get", kv.GetRequest(key=KEY))
            yield await status_of(channel, KEY_VALUE + "Set", kv.SetRequest(key=KEY, value=BYTES))
            await deployment.backend.kill()
            yield await status_of(channel, KEY_VALUE + "Set", kv.SetRequest(key=KEY, value=BYTES))
            health = LIFECYCLE + "HealthCheck"
            yield await status_of(channel, health, lifecycle.HealthCheckRequest(), TOKEN)


def calls(commanded: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """Yield paths and requests, with the token to send with each."""
    writes = [
        kv.SetRequest(key=KEY, value=BYTES),
        kv.SetRequest(key=KEY, value=BYTES, if_absent=True),
        kv.SetRequest(key=KEY, value=BYTES, if_version=1),
        kv.SetRequest(key=KEY, value=BYTES, if_absent=True, if_version=1),
        kv.SetRequest(key=KEY * 100, value=BYTES),
        kv.SetRequest(key=KEY, value=BYTES * 80_000),
        # Not a valid message: its length is wrong.
        b"\x0a\xff" + BYTES,
    ]
    keys = [KEY, f"{KEY}:2", "", KEY * 100]
    batch = kv.BatchSetRequest(keys=keys, values=[BYTES] * len(keys))
    columns = kv.BatchSetRequest(keys=[KEY], values=[BYTES, BYTES])
    yield from ((KEY_VALUE + "Set", each, "") for each in writes)
    yield from ((KEY_VALUE + "BatchSet", each, "") for each in (batch, columns))
    yield KEY_VALUE + "Increment", kv.IncrementRequest(key=KEY, delta=1), ""
    yield KEY_VALUE + "Delete", kv.DeleteRequest(key=KEY, if_version=1), ""
    yield KEY_VALUE + "Scan", kv.ScanRequest(page_token=KEY), ""
    yield KEY_VALUE + "NoSuchCall", BYTES, ""
    yield LIFECYCLE + "HealthCheck", lifecycle.HealthCheckRequest(), ""
    yield LIFECYCLE + "HealthCheck", lifecycle.HealthCheckRequest(), WRONG_TOKEN
    yield LIFECYCLE + "HealthCheck", lifecycle.HealthCheckRequest(), TOKEN
    yield LIFECYCLE + "Initialize", lifecycle.InitializeRequest(settings=commanded), TOKEN


async def status_of(channel: Any, path: str, request: Any, token: str = "") -> str:
    """Return the reply, or the status with all its details."""
    payload = request if isinstance(request, bytes) else request.SerializeToString()
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    call = channel.unary_unary(path)(payload, timeout=10, metadata=metadata)
    try:
        return repr(await call)
    except grpc.aio.AioRpcError as error:
        trailers = [*error.initial_metadata(), *error.trailing_metadata()]
        return f"{error.code()} {error.details()} {trailers}"


def every_page(get: Get, address: str) -> dict[str, str]:
    """Return every page of the HTTP server by its path."""
    paths = re.findall(r"/\w*(?=[,\"])", get(address, "/no-such-page").json["error"] + '"')
    return {path: get(address, path).text for path in paths}


def config_show(flags: tuple[str, ...], folder: Path) -> str:
    command = [str(Path(sys.executable).with_name("prism")), "config", "show", *flags]
    shown = [
        subprocess.run([*command, *form], capture_output=True, text=True, cwd=folder, check=True)
        for form in ([], ["--json"])
    ]
    return "".join(done.stdout + done.stderr for done in shown)


def found(places: Mapping[str, str], markers: tuple[str, ...]) -> list[str]:
    """Return which markers are in which texts."""
    return [
        f"{marker} in {place}"
        for place, text in places.items()
        for marker in markers
        if marker in text
    ]
