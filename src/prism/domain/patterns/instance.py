"""One process of a pattern, from its launch to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.ports import (
    ControlPlane,
    Launcher,
    OpenDriver,
    PendingRegistration,
    Process,
    Session,
)
from prism.domain.patterns.recollection import Recollection
from prism.domain.patterns.running import Running
from prism.domain.patterns.values import DebugEvent, EventKind, PatternSpec, Registration
from prism.domain.redaction import Redact, redact_health
from prism.domain.tallies import OperationTallies
from prism.domain.watches import MAX_WATCHES
from prism.ports import (
    STOP_TIMEOUT,
    BackendTimeout,
    BackendUnavailable,
    DrainReport,
    Driver,
    Health,
    HealthStatus,
    Limits,
    PrismError,
)

# Less than the state machine around all patterns has.
_DRAIN_GRACE = timedelta(milliseconds=500)

ANSWER_GRACE = timedelta(seconds=1)
"""What the answer to a stop may take beyond the time that the stop itself may."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternPolicy:
    """The same for every process.

    Attributes:
        start_timeout: from its launch to its registration.
        health_interval: between two health checks.
        terminate_after: between asking an idle process to stop and SIGTERM, and
            between that and SIGKILL.
        max_in_flight: operations at once, to one pattern.
        max_per_connection: operations at once to one pattern, by one connection.
    """

    start_timeout: timedelta = timedelta(seconds=10)
    health_interval: timedelta = timedelta(seconds=2)
    terminate_after: timedelta = timedelta(seconds=3)
    max_in_flight: int = 1024
    max_per_connection: int = 512
    max_watches: int = MAX_WATCHES
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class SupervisionPorts:
    """What is outside.

    Attributes:
        redact: hides secrets in what patterns say.
    """

    launcher: Launcher
    reception: ControlPlane
    open_driver: OpenDriver
    journal: Journal
    redact: Redact = str


class Instance:
    """Launch it, start it, and close it whatever became of it.

    Args:
        tallies: of the operations through here; its own, when left out.

    Attributes:
        health: as of the last check; None: there was none.
        serving_since: None: it does not serve yet.
    """

    def __init__(
        self,
        spec: PatternSpec,
        world: SupervisionPorts,
        terms: PatternPolicy,
        tallies: OperationTallies | None = None,
    ) -> None:
        self.spec = spec
        self._tallies = tallies
        self._world = world
        self._terms = terms
        self._admission = Admission(
            max_in_flight=terms.max_in_flight, max_per_connection=terms.max_per_connection
        )
        self._launching: asyncio.Future[Process] | None = None
        self._process: Running | None = None
        self._visit: PendingRegistration | None = None
        self._session: Session | None = None
        self._driver: Driver[Any] | None = None
        self._gateway: Gateway | None = None
        self._checking: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._debug = Recollection()
        self.health: Health | None = None
        self.serving_since: datetime | None = None

    @property
    def gateway(self) -> Gateway:
        """In front of it; made by `start`."""
        assert self._gateway is not None, "it is not started"
        return self._gateway

    @property
    def process_id(self) -> int | None:
        """Of the process that runs; None: there is none, or it has ended."""
        alive = self._process is not None and self._process.alive
        return self._process.pid if self._process is not None and alive else None

    @property
    def registration(self) -> Registration | None:
        """What it said of itself, once it has called back."""
        return None if self._session is None else self._session.registration

    @property
    def debug_events(self) -> Iterable[DebugEvent]:
        """What it told last, oldest first."""
        return self._debug.events

    @property
    def in_flight(self) -> int:
        """Operations through here."""
        return self._admission.in_flight

    async def launch(self) -> None:
        """Start the process, and wait until it has registered.

        Raises:
            BackendUnavailable: it ended before.
            BackendTimeout: it did not register in time.
            PrismError: it could not be started, or was refused.
        """
        name, world = self.spec.name, self._world
        self._visit = world.reception.expect(self.spec, happened=self._happened, told=self._told)
        # Not given up half-way, or nobody would know of the process.
        self._launching = asyncio.ensure_future(world.launcher.launch(self.spec, self._visit.token))
        process = self._process = Running(await asyncio.shield(self._launching), name)
        self._happened(EventKind.LAUNCHED, f"process {process.pid}")
        seconds = self._terms.start_timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                self._session = await process.unless_ended(self._visit.registered())
        except TimeoutError:
            raise BackendTimeout(
                f"the pattern {name!r} did not register within {seconds:g} s"
            ) from None
        told = self._session.registration
        self._happened(
            EventKind.REGISTERED,
            f"{told.driver} {told.driver_version} at {told.data_address}",
        )

    async def start(self) -> None:
        """Initialize and start its driver, and let operations in.

        Raises:
            PrismError: as the driver said, or the process ended meanwhile.
        """
        session, process = self._session, self._process
        assert session is not None
        assert process is not None
        await process.unless_ended(session.lifecycle.initialize(self.spec.settings))
        self._happened(EventKind.INITIALIZED, "its driver is initialized")
        await process.unless_ended(session.lifecycle.start())
        self._happened(EventKind.STARTED, "its driver is started")
        self._driver = await process.unless_ended(
            self._world.open_driver(self.spec.name, session.registration.data_address)
        )
        terms = self._terms
        self._gateway = Gateway(
            self._driver,
            self._admission,
            terms.limits,
            max_watches=terms.max_watches,
            tallies=self._tallies,
        )
        self._admission.open()
        self.serving_since = datetime.now(UTC)
        self._checking = asyncio.create_task(self._check_health(session))

    async def failed(self) -> str:
        """Wait until it has ended, or is lost; how, in words."""
        assert self._session is not None
        assert self._process is not None
        try:
            return await self._process.unless_ended(self._session.lost())
        except BackendUnavailable as ended:
            return ended.message

    async def finish(self, why: str, timeout: timedelta) -> DrainReport:
        """Let nothing new in, and finish what is in flight, here and there.

        Args:
            why: what is told to whoever comes meanwhile.
        """
        self._admission.close(why)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout.total_seconds()
        ours = await self._admission.drain(timeout)
        theirs = DrainReport()
        if self._session is not None and self._process is not None and self._process.alive:
            # What began here is what runs there, so both have the same time.
            left = timedelta(seconds=max(deadline - loop.time(), 0.0))
            theirs = await self._drain_there(self._process, self._session, left)
        report = DrainReport(
            completed=ours.completed + theirs.completed, aborted=ours.aborted + theirs.aborted
        )
        message = f"{report.completed:,} operations completed, {report.aborted:,} aborted"
        self._happened(EventKind.DRAINED, message)
        return report

    async def _drain_there(
        self, process: Running, session: Session, timeout: timedelta
    ) -> DrainReport:
        try:
            async with asyncio.timeout((timeout + _DRAIN_GRACE).total_seconds()):
                return await process.unless_ended(session.lifecycle.drain(timeout))
        except TimeoutError:
            raise BackendTimeout(f"the pattern {self.spec.name!r} did not drain in time") from None

    async def close(self, why: str, timeout: timedelta = STOP_TIMEOUT) -> None:
        """Stop it, then terminate it, then kill it. Safe in every state, and more than once.

        Cancelling the caller does not cancel it.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(why, timeout))
        await asyncio.shield(self._closing)

    async def _close(self, why: str, timeout: timedelta) -> None:
        self._admission.close(why)
        if self._launching is not None and self._process is None:
            with suppress(Exception):  # `launch` raised it already
                self._process = Running(await self._launching, self.spec.name)
        if self._checking is not None:
            self._checking.cancel()
        # One that was told to stop ends by itself; of any other that cannot be expected.
        by_itself = timedelta()
        if self._session is not None and self._process is not None and self._process.alive:
            limit_s = (timeout + ANSWER_GRACE).total_seconds()
            try:
                async with asyncio.timeout(limit_s):
                    await self._process.unless_ended(self._session.lifecycle.stop(timeout))
                by_itself = self._terms.terminate_after
                self._happened(EventKind.STOPPED, "its driver is stopped")
            except TimeoutError:
                self._happened(EventKind.FAILED, f"it did not stop within {limit_s:g} s")
            except PrismError as error:
                self._happened(EventKind.FAILED, f"it did not stop: {error.message}")
        if self._driver is not None:
            with suppress(PrismError):
                await self._driver.stop()
        if self._process is not None:
            patience = self._terms.terminate_after
            how = await self._process.end(by_itself=by_itself, patience=patience)
            self._happened(EventKind.EXITED, f"process {self._process.pid} {how}")
        if self._visit is not None:
            self._visit.close()

    async def _check_health(self, session: Session) -> None:
        while True:
            try:
                health = await session.lifecycle.health()
            except PrismError as error:
                health = Health(HealthStatus.UNHEALTHY, error.message)
            health = redact_health(health, self._world.redact)
            before, self.health = self.health, health
            # One that begins well is nothing to tell.
            expected = HealthStatus.HEALTHY if before is None else before.status
            if health.status is not expected:
                self._happened(EventKind.HEALTH, f"{health.status}: {health.message}")
            await asyncio.sleep(self._terms.health_interval.total_seconds())

    def _told(self, event: DebugEvent) -> None:
        redact = self._world.redact
        details = {name: redact(text) for name, text in event.details.items()}
        self._debug.add(replace(event, message=redact(event.message), details=details))

    def _happened(self, kind: EventKind, message: str) -> None:
        self._world.journal.add(self.spec.name, kind, message)
