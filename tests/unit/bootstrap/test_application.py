"""Order of opening and closing, with servers that only record what is called."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from dependency_injector import providers

from prism.adapters.memstore import DRIVER, Memstore, MemstoreSettings
from prism.adapters.observability.tracing.tracing import FLUSH_TIMEOUT, Tracing
from prism.bootstrap.configuration import Configuration
from prism.bootstrap.container import Container
from prism.bootstrap.settings import ServeSettings
from prism.domain.redaction import Redactor
from prism.ports import BackendUnavailable, DrainReport, PreconditionFailed, State
from tests.servers.collector import Collector
from tests.servers.process import free_port


class Recorder:
    """Record of calls to a driver and two servers; `failing` has the calls that raise."""

    def __init__(self, failing: dict[str, Exception]) -> None:
        self.events: list[str] = []
        self.failing = failing

    def note(self, event: str) -> None:
        self.events.append(event)
        if event in self.failing:
            raise self.failing[event]


class Driver(Memstore):
    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    async def initialize(self, settings: MemstoreSettings) -> None:
        self._recorder.note("driver initialized")
        await super().initialize(settings)

    async def drain(self, timeout: timedelta = timedelta()) -> DrainReport:
        self._recorder.note("driver drained")
        return await super().drain(timeout)

    async def stop(self, timeout: timedelta = timedelta()) -> None:
        await super().stop(timeout)
        self._recorder.note("driver stopped")


class Grpc:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def start(self) -> tuple[str, ...]:
        self._recorder.note("grpc started")
        return ("127.0.0.1:1",)

    def observe(self, observer: object) -> None:
        pass

    async def stop(self) -> None:
        self._recorder.note("grpc stopped")


class Http:
    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    async def start(self) -> str:
        self._recorder.note("http started")
        return "127.0.0.1:2"

    async def stop(self) -> None:
        self._recorder.note("http stopped")


class Telemetry(Tracing):
    """Tracing that exports to a collector, which may be down."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(version="0", exporter="otlp", ratio=1.0, out=sys.stdout, redact=Redactor())
        self._journal = recorder

    async def close(self) -> None:
        self._journal.note("flushing")
        await super().close()
        self._journal.note("flushed")


Build = Callable[..., tuple[Container, Recorder]]


@pytest.fixture
def build() -> Build:
    def make(**failing: Exception) -> tuple[Container, Recorder]:
        recorder = Recorder({name.replace("_", " "): error for name, error in failing.items()})
        container = Container(
            configuration=Configuration(ServeSettings(start_timeout=timedelta()), DRIVER, {})
        )
        container.driver.override(providers.Object(Driver(recorder)))
        container.common.grpc_server.override(providers.Object(Grpc(recorder)))
        container.common.http_server.override(providers.Object(Http(recorder)))
        container.readiness().observe(
            lambda now: recorder.note("ready" if now.ready else f"not ready: {now.reason}")
        )
        recorder.events.clear()
        return container, recorder

    return make


async def run_until_ready(container: Container) -> asyncio.Task[int]:
    running = asyncio.Event()
    container.lifecycle().observe(lambda s: running.set() if s is State.RUNNING else None)
    task = asyncio.create_task(container.application().run())
    await running.wait()
    return task


UP = ["http started", "grpc started", "driver initialized", "not ready: the driver is initialized"]
SERVERS_DOWN = ["grpc stopped", "http stopped"]


async def test_parts_open_and_close_in_order(build: Build) -> None:
    container, recorder = build()
    task = await run_until_ready(container)
    os.kill(os.getpid(), signal.SIGTERM)
    assert await task == 0
    assert recorder.events == [
        *UP,
        "ready",
        "not ready: shutting down",
        "driver drained",
        "driver stopped",
        *SERVERS_DOWN,
    ]


@pytest.mark.parametrize("collector_is_up", [True, False], ids=["collector up", "down"])
async def test_telemetry_is_flushed_last_and_in_bounded_time(
    build: Build, monkeypatch: pytest.MonkeyPatch, collector_is_up: bool
) -> None:
    with Collector() as collector:
        endpoint = collector.endpoint if collector_is_up else f"http://127.0.0.1:{free_port()}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "3600")
        container, recorder = build()
        telemetry = Telemetry(recorder)
        container.common.tracing.override(providers.Object(telemetry))
        task = await run_until_ready(container)
        telemetry.tracer.start_span("of the last request").end()
        os.kill(os.getpid(), signal.SIGTERM)
        async with asyncio.timeout(FLUSH_TIMEOUT.total_seconds() + 10):
            assert await task == 0
        assert recorder.events == [
            *UP,
            "ready",
            "not ready: shutting down",
            "driver drained",
            "driver stopped",
            *SERVERS_DOWN,
            "flushing",
            "flushed",
        ]
        exported = [span.name for span in collector.spans]
        assert exported == (["of the last request"] if collector_is_up else [])


async def test_stop_by_rpc_ends_without_a_second_drain(build: Build) -> None:
    container, recorder = build()
    task = await run_until_ready(container)
    await container.lifecycle().stop()
    assert await task == 0
    assert "driver drained" not in recorder.events
    assert recorder.events[-2:] == SERVERS_DOWN
    assert recorder.events.count("driver stopped") == 1


@pytest.mark.parametrize(
    ("failing", "events"),
    [
        ("http_started", ["http started", "http stopped"]),
        ("grpc_started", ["http started", "grpc started", "grpc stopped", "http stopped"]),
    ],
)
async def test_port_in_use_touches_no_backend_and_leaves_nothing_open(
    build: Build, failing: str, events: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    container, recorder = build(**{failing: PreconditionFailed("the port is taken")})
    assert await container.application().run() == 1
    assert recorder.events == events
    assert [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR] == [
        "the port is taken"
    ]


async def test_unreachable_backend_closes_everything(
    build: Build, caplog: pytest.LogCaptureFixture
) -> None:
    container, recorder = build(driver_initialized=BackendUnavailable("no backend there"))
    assert await container.application().run() == 1
    assert recorder.events[-3:] == ["driver stopped", *SERVERS_DOWN]
    assert "no backend there" in caplog.text
    assert "serving" not in caplog.text


@pytest.mark.parametrize("error", [BackendUnavailable("gone"), RuntimeError("a defect")])
@pytest.mark.parametrize("failing", ["driver_drained", "driver_stopped"])
async def test_driver_that_fails_to_close_does_not_keep_servers_open(
    build: Build, failing: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    container, recorder = build(**{failing: error})
    task = await run_until_ready(container)
    container.application().end("the test says so")
    assert await task == 1
    assert recorder.events.count("driver stopped") == 1
    assert recorder.events[-2:] == SERVERS_DOWN
    assert str(error) in caplog.text


async def test_unexpected_error_is_raised(build: Build) -> None:
    error: Any = RuntimeError("a defect")
    container, recorder = build(driver_initialized=error)
    with pytest.raises(RuntimeError, match="a defect"):
        await container.application().run()
    assert recorder.events[-3:] == ["driver stopped", *SERVERS_DOWN]


async def test_signal_handlers_are_restored(build: Build) -> None:
    before = signal.getsignal(signal.SIGTERM)
    container, _ = build()
    task = await run_until_ready(container)
    assert signal.getsignal(signal.SIGTERM) is not before
    container.application().end("the test says so")
    await task
    assert signal.getsignal(signal.SIGTERM) is before
