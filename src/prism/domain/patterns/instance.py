"""One process of a pattern, from its launch to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from prism.domain.admission import Admission
from prism.domain.gateway import Gateway
from prism.domain.patterns.journal import DebugHistory
from prism.domain.patterns.ports import PendingRegistration, Process, Session, SupervisionPorts
from prism.domain.patterns.values import (
    DebugEvent,
    EventKind,
    PatternPolicy,
    PatternSpec,
    Registration,
)
from prism.domain.redaction import redact_health
from prism.domain.tallies import OperationTallies
from prism.ports import (
    STOP_TIMEOUT,
    BackendTimeout,
    BackendUnavailable,
    DrainReport,
    Health,
    HealthStatus,
    LifecycleControl,
    PrismError,
    State,
)
from prism.ports.text import counted

Result = TypeVar("Result")

# Shorter than the grace of the proxy's own state machine, which drains all patterns.
_DRAIN_GRACE = timedelta(milliseconds=500)

STOP_GRACE = timedelta(seconds=1)
"""How long the reply to a stop may take beyond the timeout of the stop itself."""


class WatchedProcess:
    """A started process, with a task that waits for its end.

    Args:
        pattern: name of the pattern, for messages.
    """

    def __init__(self, process: Process, pattern: str) -> None:
        self._process = process
        self._pattern = pattern
        self._ended = asyncio.create_task(process.wait())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is not known to have ended."""
        return not self._ended.done()

    async def while_alive(self, step: Awaitable[Result]) -> Result:
        """Await the step, and cancel it if the process ends first.

        Raises:
            BackendUnavailable: the process ended.
        """
        result = asyncio.ensure_future(step)
        try:
            await asyncio.wait((result, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if result.done():
                return result.result()
            raise BackendUnavailable(f"the pattern {self._pattern!r} {self._ended.result()}")
        finally:
            result.cancel()

    async def end(self, *, exit_within: timedelta, signal_interval: timedelta) -> str:
        """Wait for the process to exit; then terminate it; then kill it.

        Args:
            exit_within: how long to wait before SIGTERM.
            signal_interval: how long to wait between SIGTERM and SIGKILL.

        Returns:
            How the process ended.
        """
        if not await self._ends_within(exit_within):
            self._process.terminate()
            if not await self._ends_within(signal_interval):
                self._process.kill()
        return await asyncio.shield(self._ended)

    async def _ends_within(self, timeout: timedelta) -> bool:
        await asyncio.wait((self._ended,), timeout=timeout.total_seconds())
        return self._ended.done()


class Instance:
    """One process of a pattern: `launch`, then `start`; `close` in any state.

    Args:
        tallies: counts of the operations through this instance; None: its own.

    Attributes:
        health: result of the last check; None: not checked yet.
        serving_since: None: not started yet.
    """

    def __init__(
        self,
        spec: PatternSpec,
        ports: SupervisionPorts,
        policy: PatternPolicy,
        tallies: OperationTallies | None = None,
    ) -> None:
        self.spec = spec
        self._tallies = tallies
        self._ports = ports
        self._policy = policy
        self._admission = Admission(
            max_in_flight=policy.max_in_flight, max_per_connection=policy.max_per_connection
        )
        self._launching: asyncio.Future[Process] | None = None
        self._process: WatchedProcess | None = None
        self._pending: PendingRegistration | None = None
        self._session: Session | None = None
        self._lifecycle: LifecycleControl | None = None
        self._connections = AsyncExitStack()
        self._leaving = False
        self._gateway: Gateway | None = None
        self._health_checks: asyncio.Task[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._debug_history = DebugHistory()
        self.health: Health | None = None
        self.serving_since: datetime | None = None

    @property
    def gateway(self) -> Gateway:
        """Gateway to the process; made by `start`."""
        assert self._gateway is not None, "the instance is not started"
        return self._gateway

    @property
    def process_id(self) -> int | None:
        """Id of the running process; None: not launched yet, or ended."""
        alive = self._process is not None and self._process.alive
        return self._process.pid if self._process is not None and alive else None

    @property
    def registration(self) -> Registration | None:
        """Latest registration of the process; None: not registered yet."""
        return None if self._session is None else self._session.registration

    @property
    def debug_events(self) -> Iterable[DebugEvent]:
        """Latest debug events of the process, oldest first."""
        return self._debug_history.events

    @property
    def in_flight(self) -> int:
        """Number of operations that were sent and have not ended."""
        return self._admission.in_flight

    async def launch(self) -> None:
        """Start the process, and wait until it has registered.

        Raises:
            BackendUnavailable: the process ended first.
            BackendTimeout: the process did not register in time.
            PrismError: the process could not be started, or was refused.
        """
        name, ports = self.spec.name, self._ports
        pending = self._pending = ports.control_plane.expect(
            self.spec, on_event=self._record, on_debug_event=self._record_debug_event
        )
        # Shielded: a cancelled launch would leave a process that nothing ends.
        self._launching = asyncio.ensure_future(ports.launcher.launch(self.spec, pending.token))
        process = WatchedProcess(await asyncio.shield(self._launching), name)
        self._process = process
        self._record(EventKind.LAUNCHED, f"process {process.pid}")
        seconds = self._policy.start_timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                self._session = await process.while_alive(pending.session())
        except TimeoutError:
            raise BackendTimeout(
                f"the pattern {name!r} did not register within {seconds:g} s"
            ) from None
        registered = self._session.registration
        self._record(
            EventKind.REGISTERED,
            f"{registered.driver} {registered.driver_version} at {registered.data_address}",
        )
        self._lifecycle = await self._connections.enter_async_context(
            ports.open_lifecycle(name, registered.data_address)
        )

    async def start(self) -> None:
        """Initialize and start the driver, and open admission.

        Raises:
            PrismError: a command failed, or the process ended.
        """
        process, session, lifecycle = self._process, self._session, self._lifecycle
        policy = self._policy
        assert process is not None
        assert session is not None
        assert lifecycle is not None
        await process.while_alive(lifecycle.initialize(self.spec.settings))
        self._record(EventKind.INITIALIZED, "its driver is initialized")
        await process.while_alive(lifecycle.start())
        self._record(EventKind.STARTED, "its driver is started")
        driver = await process.while_alive(
            self._ports.open_driver(self.spec.name, session.registration.data_address)
        )
        self._connections.push_async_callback(driver.stop)
        self._gateway = Gateway(
            driver,
            self._admission,
            policy.limits,
            max_watches=policy.max_watches,
            tallies=self._tallies,
        )
        self._admission.open()
        self.serving_since = datetime.now(UTC)
        self._health_checks = asyncio.create_task(self._check_health(lifecycle))

    async def wait_failed(self) -> str:
        """Wait until the process has ended or is lost; return the reason, as a sentence."""
        assert self._session is not None
        assert self._process is not None
        try:
            return await self._process.while_alive(self._session.wait_lost())
        except BackendUnavailable as ended:
            return ended.message

    async def drain(self, reason: str, timeout: timedelta) -> DrainReport:
        """Refuse new operations, and finish those in flight, here and in the process.

        Args:
            reason: given to the callers that are refused.

        Raises:
            PrismError: the process did not drain.
        """
        self._leaving = True
        self._admission.close(reason)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout.total_seconds()
        ours = await self._admission.drain(timeout)
        theirs = DrainReport()
        if self._lifecycle is not None and self._process is not None and self._process.alive:
            # Operations in flight here run there, so both drains share one timeout.
            left = timedelta(seconds=max(deadline - loop.time(), 0.0))
            theirs = await self._drain_process(self._process, self._lifecycle, left)
        report = DrainReport(
            completed=ours.completed + theirs.completed, aborted=ours.aborted + theirs.aborted
        )
        message = f"{counted(report.completed, 'operation')} completed, {report.aborted:,} aborted"
        self._record(EventKind.DRAINED, message)
        return report

    async def _drain_process(
        self, process: WatchedProcess, lifecycle: LifecycleControl, timeout: timedelta
    ) -> DrainReport:
        try:
            async with asyncio.timeout((timeout + _DRAIN_GRACE).total_seconds()):
                return await process.while_alive(lifecycle.drain(timeout))
        except TimeoutError:
            raise BackendTimeout(f"the pattern {self.spec.name!r} did not drain in time") from None

    async def close(self, reason: str, timeout: timedelta = STOP_TIMEOUT) -> None:
        """Stop the driver, then terminate the process, then kill it.

        Safe in every state, and to repeat. Cancelling the caller does not cancel it.
        """
        if self._closing is None:
            self._closing = asyncio.create_task(self._close(reason, timeout))
        await asyncio.shield(self._closing)

    async def _close(self, reason: str, timeout: timedelta) -> None:
        self._admission.close(reason)
        if self._launching is not None and self._process is None:
            with suppress(Exception):  # `launch` raised it already
                self._process = WatchedProcess(await self._launching, self.spec.name)
        if self._health_checks is not None:
            self._health_checks.cancel()
        if self._session is not None:
            self._session.expect_end()
        # Only a process whose driver was stopped exits without a signal.
        exit_within = timedelta()
        if (
            self._lifecycle is not None
            and self._process is not None
            and self._process.alive
            and await self._stop_driver(self._process, self._lifecycle, timeout)
        ):
            exit_within = self._policy.terminate_after
        with suppress(PrismError):
            await self._connections.aclose()
        if self._process is not None:
            how = await self._process.end(
                exit_within=exit_within, signal_interval=self._policy.terminate_after
            )
            self._record(EventKind.EXITED, f"process {self._process.pid} {how}")
        if self._pending is not None:
            self._pending.close()

    async def _stop_driver(
        self, process: WatchedProcess, lifecycle: LifecycleControl, timeout: timedelta
    ) -> bool:
        seconds = (timeout + STOP_GRACE).total_seconds()
        try:
            async with asyncio.timeout(seconds):
                await process.while_alive(lifecycle.stop(timeout))
        except TimeoutError:
            self._record(EventKind.FAILED, f"it did not stop within {seconds:g} s")
        except PrismError as error:
            self._record(EventKind.FAILED, f"it did not stop: {error.message}")
        else:
            self._record(EventKind.STOPPED, "its driver is stopped")
            return True
        return False

    async def _check_health(self, lifecycle: LifecycleControl) -> None:
        while True:
            health = redact_health(await self._health_of(lifecycle), self._ports.redact)
            previous, self.health = self.health, health
            # A first check that finds it healthy is not an event.
            expected = HealthStatus.HEALTHY if previous is None else previous.status
            if health.status is not expected:
                self._record(EventKind.HEALTH, f"{health.status}: {health.message}")
            await asyncio.sleep(self._policy.health_interval.total_seconds())

    async def _health_of(self, lifecycle: LifecycleControl) -> Health:
        try:
            health, state = await lifecycle.health(), await lifecycle.state()
        except PrismError as error:
            return Health(HealthStatus.UNHEALTHY, error.message)
        if state in (State.DRAINING, State.STOPPED) and not self._leaving:
            # It refuses every call, even if its backend is healthy.
            message = (
                f"its driver is {state}, by a command that did not come from its proxy: restart it"
            )
            return Health(HealthStatus.UNHEALTHY, message, health.details)
        return health

    def _record(self, kind: EventKind, message: str) -> None:
        self._ports.journal.add(self.spec.name, kind, message)

    def _record_debug_event(self, event: DebugEvent) -> None:
        redact = self._ports.redact
        details = {name: redact(text) for name, text in event.details.items()}
        self._debug_history.add(replace(event, message=redact(event.message), details=details))
