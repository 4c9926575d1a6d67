"""Fake ports of supervision: processes that are objects in this one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
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
    """Implements `Process`.

    Attributes:
        stubborn: ignores Stop and SIGTERM.
        signals: names of the signals that were sent.
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
    """Implements `Session`.

    Attributes:
        loss: result of `wait_lost`.
    """

    def __init__(self, process: FakeProcess) -> None:
        self.registration = Registration(
            driver=process.spec.driver,
            driver_version="1",
            prism_version="1",
            process_id=process.pid,
            data_address=str(process.pid),
        )
        self.loss: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.end_expected = False

    def expect_end(self) -> None:
        self.end_expected = True

    async def wait_lost(self) -> str:
        return await asyncio.shield(self.loss)


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


class ExitingLifecycle(LifecycleMachine):
    """Lifecycle whose process exits once it is stopped, as a pattern does."""

    process: FakeProcess

    async def stop(self, timeout: timedelta = timedelta(seconds=1)) -> None:
        await super().stop(timeout)
        if not self.process.stubborn:
            self.process.exit("exited with status 0")


OnLaunch = Callable[[FakeProcess, FakePendingRegistration], None]
"""What happens at a launch, instead of a registration."""


class FakePorts:
    """Launches memstores that register at once, unless a test says otherwise.

    Attributes:
        processes: all processes, in the order of their launches.
        next_launches: what happens at the next launches, one entry for each.
        every_launch: what happens at all further launches; None: they register.
        new_driver: makes the driver of a process.
        lifecycles: lifecycle that commands reach, by address.
    """

    def __init__(self) -> None:
        self.processes: list[FakeProcess] = []
        self.pending: list[FakePendingRegistration] = []
        self.sessions: list[FakeSession] = []
        self.next_launches: list[OnLaunch] = []
        self.every_launch: OnLaunch | None = None
        self.journal = Journal()
        self.ports = SupervisionPorts(
            launcher=self,
            control_plane=self,
            open_lifecycle=self.open_lifecycle,
            open_driver=self.open_driver,
            journal=self.journal,
        )
        self.drivers: dict[str, Driver[Any]] = {}
        self.lifecycles: dict[str, LifecycleControl] = {}
        self.new_driver: Callable[[PatternSpec], Driver[Any]] = lambda _: Memstore()

    def expect(
        self, spec: PatternSpec, *, on_event: OnEvent, on_debug_event: OnDebugEvent
    ) -> FakePendingRegistration:
        pending = FakePendingRegistration(f"token-{len(self.pending)}", on_event, on_debug_event)
        self.pending.append(pending)
        return pending

    async def launch(self, spec: PatternSpec, token: str) -> FakeProcess:
        pending = next(each for each in self.pending if each.token == token)
        driver = self.new_driver(spec)
        admission = Admission(max_in_flight=100, max_per_connection=100)
        lifecycle = ExitingLifecycle(driver, MemstoreSettings, admission)
        end: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        process = FakeProcess(1000 + len(self.processes), spec, driver, lifecycle, end)
        lifecycle.process = process
        self.processes.append(process)
        self.drivers[str(process.pid)] = driver
        self.lifecycles[str(process.pid)] = lifecycle
        on_launch = self.next_launches.pop(0) if self.next_launches else self.every_launch
        if on_launch is not None:
            on_launch(process, pending)
        else:
            self.register(process, pending)
        return process

    def register(self, process: FakeProcess, pending: FakePendingRegistration) -> None:
        session = FakeSession(process)
        self.sessions.append(session)
        pending.accepted.set_result(session)

    @asynccontextmanager
    async def open_lifecycle(self, _name: str, address: str) -> AsyncIterator[LifecycleControl]:
        yield self.lifecycles[address]

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
        """Return the kinds of all events."""
        return [event.kind for event in self.journal.events()]

    def message_of(self, kind: EventKind) -> str:
        """Return the message of the last event of that kind."""
        return [event.message for event in self.journal.events() if event.kind is kind][-1]

    async def wait_for(self, kind: EventKind, times: int = 1) -> None:
        """Wait until there is a number of events of one kind."""
        seen = asyncio.Event()
        unsubscribe = self.journal.subscribe(lambda _: seen.set())
        try:
            async with asyncio.timeout(30):
                while self.kinds().count(kind) < times:
                    seen.clear()
                    await seen.wait()
        finally:
            unsubscribe()


def exits(how: str) -> OnLaunch:
    """The process exits before it has registered."""
    return lambda process, _: process.exit(how)


def is_refused(error: PrismError) -> OnLaunch:
    """The process is refused."""
    return lambda _, pending: pending.accepted.set_exception(error)


def never_registers(_process: FakeProcess, _pending: FakePendingRegistration) -> None:
    """The process does nothing."""


async def wait_closed(admission: Admission) -> None:
    """Wait until the admission refuses."""
    with suppress(NotServing):
        async with asyncio.timeout(30):
            while True:
                admission.check_open()
                await asyncio.sleep(0)


class SharedStore(DriverWrapper):
    """Driver whose data are outside its process: other processes have them too."""

    async def initialize(self, settings: Any) -> None:
        """Do nothing: the data exist already."""

    async def stop(self, timeout: timedelta = timedelta()) -> None:
        """Do nothing: the data stay."""


async def shared_store() -> Callable[[PatternSpec], Driver[Any]]:
    """Return a function that makes drivers which share their data."""
    store = Memstore()
    await store.initialize(MemstoreSettings())
    return lambda _: SharedStore(store)
