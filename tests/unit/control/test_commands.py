"""Commands of a proxy to a pattern, by LifecycleService over a real server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from prism.adapters.client.lifecycle import LifecycleClient, pattern_lifecycle
from prism.adapters.grpc.admin_guard import AdminGuard
from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import LifecycleServicer
from prism.adapters.grpc.services import Services
from prism.adapters.grpc.transports.grpcio import GrpcioServer
from prism.adapters.grpc.transports.h2corn import H2cornServer
from prism.adapters.grpc.transports.options import ServerOptions
from prism.adapters.memstore import DRIVER, Memstore, MemstoreSettings
from prism.domain.admission import Admission
from prism.domain.connection_budget import UnreadReplies
from prism.domain.gateway import Gateway
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.readiness import ReadinessMonitor
from prism.domain.turns import Turns
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    DrainReport,
    Health,
    HealthStatus,
    IllegalTransition,
    Internal,
    InvalidArgument,
    Limits,
    NotServing,
    State,
)

TRANSPORTS: dict[str, Any] = {"h2corn": H2cornServer, "grpcio": GrpcioServer}


class Scripted(Memstore):
    """Memstore whose start and health a test controls."""

    def __init__(self) -> None:
        super().__init__()
        self.starting = asyncio.Event()
        self.may_start = asyncio.Event()
        self.may_start.set()
        self.fails = False
        self.hangs = False

    async def initialize(self, settings: MemstoreSettings) -> None:
        if settings.max_keys == 13:
            raise InvalidArgument("13 keys are too many", reason="SUPERSTITION")
        await super().initialize(settings)

    async def start(self) -> None:
        self.starting.set()
        await self.may_start.wait()
        if self.fails:
            raise RuntimeError("with the password")

    async def health(self) -> Health:
        if self.hangs:
            await asyncio.Event().wait()
        return await super().health()


class Traceparents:
    """Call observer that records the traceparent of each call, and observes none."""

    def __init__(self) -> None:
        self.seen: list[str | None] = []

    def begin(self, path: str, context: CallContext) -> object:
        self.seen.append(context.metadata("traceparent"))
        return None

    def resume(self, handle: object) -> None: ...

    def follows(self, handle: object) -> bool:
        return False

    def end(self, handle: object, status: object) -> None: ...


class Pattern:
    """Server of a pattern, and the commands of its proxy."""

    def __init__(self, driver: Scripted, admission: Admission, lifecycle: LifecycleMachine) -> None:
        self.driver = driver
        self.admission = admission
        self.lifecycle = lifecycle
        self.traceparents = Traceparents()
        self.address = ""
        self.commands: LifecycleClient

    async def serve(self) -> None:
        await self.commands.initialize({})
        await self.commands.start()


@pytest.fixture(params=TRANSPORTS)
async def pattern(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Pattern]:
    driver = Scripted()
    admission = Admission(max_in_flight=100, max_per_connection=100)
    lifecycle = LifecycleMachine(driver, DRIVER.settings, admission)
    options = ServerOptions(socket=tmp_path / "data.sock", grace=timedelta())
    pattern = Pattern(driver, admission, lifecycle)
    services = Services(
        KeyValueServicer(Gateway(driver, admission, Limits())),
        LifecycleServicer(lifecycle, AdminGuard(None, required=False)),
        ReadinessMonitor(lifecycle),
        options,
        pattern.traceparents,
    )
    server = TRANSPORTS[request.param](services, options, UnreadReplies(), Turns())
    async with AsyncExitStack() as stack:
        (pattern.address,) = await server.start()
        stack.push_async_callback(server.stop)
        stack.push_async_callback(lifecycle.stop)
        pattern.commands = await stack.enter_async_context(
            pattern_lifecycle("sessions", pattern.address)
        )
        yield pattern


async def test_every_command_reaches_the_driver(pattern: Pattern) -> None:
    commands = pattern.commands
    await commands.initialize({"max_keys": "7"})
    assert pattern.lifecycle.settings == {"max_keys": "7"}
    await commands.start()
    assert await commands.state() is State.RUNNING
    assert (await commands.health()).details["max_keys"] == "7"
    with pattern.admission.admit():
        draining = asyncio.create_task(commands.drain(timedelta(seconds=10)))
        while await commands.state() is State.RUNNING:
            await asyncio.sleep(0)
    assert await draining == DrainReport(completed=1)
    await commands.stop()
    assert await commands.state() is State.STOPPED


async def test_error_of_the_driver_keeps_type_reason_and_message(pattern: Pattern) -> None:
    with pytest.raises(InvalidArgument, match="13 keys are too many") as raised:
        await pattern.commands.initialize({"max_keys": "13"})
    assert raised.value.reason == "SUPERSTITION"


async def test_defect_of_the_driver_is_reported_without_its_text(pattern: Pattern) -> None:
    pattern.driver.fails = True
    await pattern.commands.initialize({})
    with pytest.raises(Internal) as raised:
        await pattern.commands.start()
    assert "password" not in str(raised.value)


async def test_repeated_command_succeeds_and_runs_once(pattern: Pattern) -> None:
    pattern.driver.may_start.clear()
    await pattern.commands.initialize({})
    first = asyncio.create_task(pattern.commands.start())
    await pattern.driver.starting.wait()
    pattern.driver.starting.clear()
    second = asyncio.create_task(pattern.commands.start())
    pattern.driver.may_start.set()
    await asyncio.gather(first, second)
    await pattern.commands.start()
    assert not pattern.driver.starting.is_set()
    with pytest.raises(IllegalTransition):
        await pattern.commands.initialize({"max_keys": "1"})


async def test_cancelled_caller_does_not_cancel_the_command(pattern: Pattern) -> None:
    pattern.driver.may_start.clear()
    await pattern.commands.initialize({})
    starting = asyncio.create_task(pattern.commands.start())
    await pattern.driver.starting.wait()
    starting.cancel()
    pattern.driver.may_start.set()
    while await pattern.commands.state() is not State.RUNNING:
        await asyncio.sleep(0)


async def test_stop_cancels_a_start_that_hangs(pattern: Pattern) -> None:
    pattern.driver.may_start.clear()
    await pattern.commands.initialize({})
    starting = asyncio.create_task(pattern.commands.start())
    await pattern.driver.starting.wait()
    await pattern.commands.stop()
    with pytest.raises(NotServing):
        await starting


async def test_health_is_checked_during_a_drain(pattern: Pattern) -> None:
    await pattern.serve()
    with pattern.admission.admit():
        draining = asyncio.create_task(pattern.commands.drain(timedelta(seconds=10)))
        while await pattern.commands.state() is State.RUNNING:
            await asyncio.sleep(0)
        assert (await pattern.commands.health()).status is HealthStatus.HEALTHY
        assert not draining.done()
    await draining


async def test_health_check_that_hangs_times_out(
    pattern: Pattern, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "prism.adapters.client.lifecycle._PATTERN_HEALTH_TIMEOUT", timedelta(seconds=0.1)
    )
    await pattern.serve()
    pattern.driver.hangs = True
    async with pattern_lifecycle("sessions", pattern.address) as commands:
        with pytest.raises(BackendTimeout):
            await commands.health()


async def test_closing_the_connection_fails_the_commands_in_flight(pattern: Pattern) -> None:
    pattern.driver.may_start.clear()
    await pattern.commands.initialize({})
    async with pattern_lifecycle("sessions", pattern.address) as commands:
        starting = asyncio.create_task(commands.start())
        await pattern.driver.starting.wait()
    with pytest.raises(BackendUnavailable):
        await starting


async def test_pattern_that_does_not_answer_is_named(tmp_path: Path) -> None:
    async with pattern_lifecycle("sessions", f"unix:{tmp_path}/nobody") as commands:
        with pytest.raises(BackendUnavailable, match="the pattern 'sessions' does not answer"):
            await commands.health()


async def test_commands_belong_to_no_sampled_trace(pattern: Pattern) -> None:
    await pattern.commands.health()
    (traceparent,) = pattern.traceparents.seen
    assert traceparent is not None
    assert traceparent.endswith("-00")
