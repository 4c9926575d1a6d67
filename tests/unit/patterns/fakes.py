"""Processes that live in this one, and call back when they are told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from prism.adapters.memstore import Memstore, MemstoreSettings
from prism.domain.admission import Admission
from prism.domain.lifecycle import LifecycleMachine
from prism.domain.patterns.backoff import Backoff, BackoffPolicy
from prism.domain.patterns.instance import Instance
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.pattern import Pattern
from prism.domain.patterns.ports import OnDebugEvent, OnEvent, SupervisionPorts
from prism.domain.patterns.values import EventKind, PatternPolicy, PatternSpec, Registration
from prism.ports import Driver, LifecycleControl, NotServing, PrismError
from prism.testing.suite import DriverWrapper

POLICY = PatternPolicy(
    start_timeout=timedelta(seconds=10),
    health_interval=timedelta(milliseconds=5),
    terminate_after=timedelta(milliseconds=20),
)
IMMEDIATE = BackoffPolicy(
    initial=timedelta(milliseconds=1), maximum=timedelta(milliseconds=4), crash_loop_after=3
)


@dataclass(slots=True)
class FakeProcess:
    """Implements `Process`; a test ends it.

    Attributes:
        stubborn: neither Stop nor SIGTERM end it.
    """

    pid: int
    spec: PatternSpec
    driver: Driver[Any]
    lifecycle: LifecycleMachine
    end: asyncio.Future[str]
    stubborn: bool = False
    signals: list[str] = field(default_factory=list)

    async def wait(self) -> str:
        return await asyncio.shield(self.end)

    def terminate(self) -> None:
        self.signals.append("SIGTERM")
        if not self.stubborn:
            self.exit("was killed by SIGTERM")

    def kill(self) -> None:
        self.signals.append("SIGKILL")
        self.exit("was killed by SIGKILL")

    def exit(self, how: str) -> None:
        if not self.end.done():
            self.end.set_result(how)


class FakeSession:
    """Implements `Session`."""

    def __init__(self, process: FakeProcess, lifecycle: LifecycleControl) -> None:
        self.registration = Registration(
            driver=process.spec.driver,
            driver_version="1",
            prism_version="1",
            process_id=process.pid,
            data_address=str(process.pid),
        )
        self.lifecycle = lifecycle
        self.silence: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def wait_lost(self) -> str:
        return await asyncio.shield(self.silence)


class FakePendingRegistration:
    """Implements `PendingRegistration`."""

    def __init__(self, token: str, on_event: OnEvent, on_debug_event: OnDebugEvent) -> None:
        self.token = token
        self.on_event = on_event
        self.on_debug_event = on_debug_event
        self.accepted: asyncio.Future[FakeSession] = asyncio.get_running_loop().create_future()
        self.closed = False

    async def session(self) -> FakeSession:
        return await asyncio.shield(self.accepted)

    def close(self) -> None:
        self.closed = True


class Commanded(LifecycleMachine):
    """A lifecycle that ends its process once it is stopped, as a pattern does."""

    process: FakeProcess

    async def stop(self, timeout: timedelta = timedelta(seconds=1)) -> None:
        await super().stop(timeout)
        if not self.process.stubborn:
            self.process.exit("exited with status 0")


Mishap = Callable[["FakeProcess", "FakePendingRegistration"], None]


class FakePorts:
    """Launches memstores, and lets a test say what becomes of the next ones.

    Attributes:
        processes: all there were, in the order of their launches.
        mishaps: one for each launch to come, instead of registering.
        every_launch: likewise, where there is none left of these.
        make_driver: of a process.
    """

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.pending: list[FakePendingRegistration] = []
        self.sessions: list[FakeSession] = []
        self.mishaps: list[Mishap] = []
        self.every_launch: Mishap | None = None
        self.journal = Journal()
        self.ports = SupervisionPorts(self, self, self.open_driver, self.journal)
        self.drivers: dict[str, Driver[Any]] = {}
        self.make_driver: Callable[[PatternSpec], Driver[Any]] = lambda _: Memstore()

    def expect(
        self, spec: PatternSpec, *, on_event: OnEvent, on_debug_event: OnDebugEvent
    ) -> FakePendingRegistration:
        pending = FakePendingRegistration(f"token-{len(self.pending)}", on_event, on_debug_event)
        self.pending.append(pending)
        return pending

    async def launch(self, spec: PatternSpec, token: str) -> FakeProcess:
        pending = next(each for each in self.pending if each.token == token)
        driver = self.make_driver(spec)
        admission = Admission(max_in_flight=100, max_per_connection=100)
        lifecycle = Commanded(driver, MemstoreSettings, admission)
        end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        process = FakeProcess(1000 + len(self.processes), spec, driver, lifecycle, end)
        lifecycle.process = process
        self.processes.append(process)
        self.drivers[str(process.pid)] = driver
        mishap = self.mishaps.pop(0) if self.mishaps else self.every_launch
        if mishap is not None:
            mishap(process, pending)
        else:
            self.register(process, pending)
        return process

    def register(
        self,
        process: FakeProcess,
        pending: FakePendingRegistration,
        lifecycle: LifecycleControl | None = None,
    ) -> None:
        session = FakeSession(process, lifecycle or process.lifecycle)
        self.sessions.append(session)
        pending.accepted.set_result(session)

    async def open_driver(self, _name: str, address: str) -> Driver[Any]:
        return self.drivers[address]

    def pattern(
        self,
        spec: PatternSpec | None = None,
        *,
        policy: PatternPolicy = POLICY,
        backoff: BackoffPolicy = IMMEDIATE,
        wait_while_down: bool = False,
    ) -> Pattern:
        return Pattern(
            spec or PatternSpec("cache", "memstore"),
            lambda spec: Instance(spec, self.ports, policy),
            self.journal,
            Backoff(backoff),
            wait_while_down=wait_while_down,
        )

    def kinds(self) -> list[EventKind]:
        """What has happened, without the words."""
        return [event.kind for event in self.journal.events()]

    def message_of(self, kind: EventKind) -> str:
        """The words of the last event of that kind."""
        return [event.message for event in self.journal.events() if event.kind is kind][-1]

    async def happens(self, kind: EventKind, times: int = 1) -> None:
        """Wait until it has happened so often."""
        seen = asyncio.Event()
        forget = self.journal.subscribe(lambda _: seen.set())
        try:
            async with asyncio.timeout(10):
                while self.kinds().count(kind) < times:
                    seen.clear()
                    await seen.wait()
        finally:
            forget()


def ends(how: str) -> Mishap:
    """It ends before it has registered."""
    return lambda process, _: process.exit(how)


def is_refused(error: PrismError) -> Mishap:
    """It calls back, and is refused."""
    return lambda _, pending: pending.accepted.set_exception(error)


def never_calls(_process: FakeProcess, _pending: FakePendingRegistration) -> None:
    """It does nothing."""


async def is_closed(admission: Admission) -> None:
    """Wait until it refuses."""
    with suppress(NotServing):
        async with asyncio.timeout(10):
            while True:
                admission.check_open()
                await asyncio.sleep(0)


class Outliving(DriverWrapper):
    """A driver whose data are elsewhere: another process can have them too."""

    async def initialize(self, settings: Any) -> None:
        """They are there already."""

    async def stop(self, timeout: timedelta = timedelta()) -> None:
        """They stay there."""


async def shared_store() -> Callable[[PatternSpec], Driver[Any]]:
    """What makes drivers that all have the same data."""
    store = Memstore()
    await store.initialize(MemstoreSettings())
    return lambda _: Outliving(store)
