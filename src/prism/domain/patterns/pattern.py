"""One pattern of a proxy: its restart loop, and the commands to it."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from prism.domain.gateway import Gateway
from prism.domain.lifecycle import CommandQueue
from prism.domain.patterns.availability import Availability
from prism.domain.patterns.backoff import Backoff
from prism.domain.patterns.comparison import (
    check_capabilities,
    check_operations,
    check_shared_data,
)
from prism.domain.patterns.instance import Instance
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.restart_loop import DISCARD_TIMEOUT, NewInstance, RestartLoop
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState, PatternStatus
from prism.domain.redaction import Redact
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    DrainReport,
    NotServing,
    PreconditionFailed,
    PrismError,
)

# Shorter than the grace of the proxy's own state machine, which drains all patterns.
_DRAIN_GRACE = timedelta(milliseconds=750)


class StartupCancelled(NotServing):
    """A restart or replacement was cancelled, because the pattern is drained or stopped."""


class Startup:
    """Start-up work of one pattern, which a drain or stop can cancel.

    Args:
        pattern: name of the pattern, for messages.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._blocks = 0
        self._blocked = asyncio.Event()

    def block(self) -> None:
        """Cancel the current work, and refuse new work."""
        self._blocks += 1
        self._blocked.set()

    @contextmanager
    def blocked(self) -> Iterator[None]:
        """Do the same for the duration of a context."""
        self.block()
        try:
            yield
        finally:
            self._blocks -= 1
            if not self._blocks:
                self._blocked.clear()

    def check_allowed(self, command: str) -> None:
        """Raise StartupCancelled while new work is refused."""
        if self._blocks:
            raise self._cancelled(command)

    async def run(self, command: str, work: Coroutine[object, None, object]) -> None:
        """Run the work, or cancel it without waiting for it.

        Args:
            command: command that the work is part of, such as `restart`, for messages.

        Raises:
            StartupCancelled: the work was cancelled or refused.
        """
        running = asyncio.create_task(work)
        blocked = asyncio.create_task(self._blocked.wait())
        try:
            await asyncio.wait((running, blocked), return_when=asyncio.FIRST_COMPLETED)
            if not running.done():
                raise self._cancelled(command)
            await running
        finally:
            blocked.cancel()
            running.cancel()
            # An error during the cancellation is retrieved, or asyncio would log it.
            running.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _cancelled(self, command: str) -> StartupCancelled:
        return StartupCancelled(
            f"the {command} of the pattern {self._pattern!r} was cancelled: "
            "the pattern is being drained or stopped"
        )


class DrainingInstances:
    """Replaced or rejected instances of one pattern, each until its process has ended."""

    def __init__(self) -> None:
        self._closing: dict[asyncio.Task[None], Instance] = {}

    def add(self, instance: Instance, work: Coroutine[object, None, None]) -> asyncio.Task[None]:
        """Run the work that drains or closes the instance; return its task."""
        task = asyncio.create_task(work)
        self._closing[task] = instance
        task.add_done_callback(self._closing.pop)
        return task

    async def wait_for_calls(self, timeout: timedelta) -> None:
        """Wait, within the timeout, for instances with operations in flight."""
        await _wait((task for task, each in self._closing.items() if each.in_flight), timeout)

    async def close(self, reason: str, timeout: timedelta) -> None:
        """Close all instances, without waiting for operations in flight."""
        await asyncio.gather(*(each.close(reason, timeout) for each in self._closing.values()))
        await _wait(self._closing)


async def _wait(tasks: Iterable[asyncio.Task[None]], timeout: timedelta | None = None) -> None:
    waited = tuple(tasks)
    if waited:
        await asyncio.wait(waited, timeout=None if timeout is None else timeout.total_seconds())


class Pattern:
    """One pattern. Its commands run one after another; a stop cancels start-up work.

    Args:
        redact: removes secrets from the reasons of failures.
        wait_while_down: calls wait while the pattern does not serve, instead of being refused.
    """

    def __init__(
        self,
        spec: PatternSpec,
        new_instance: NewInstance,
        journal: Journal,
        backoff: Backoff,
        *,
        redact: Redact = str,
        wait_while_down: bool = False,
    ) -> None:
        self._availability = Availability(spec, wait_while_down=wait_while_down)
        self._loop = RestartLoop(self._availability, new_instance, journal, backoff, redact)
        self._new_instance = new_instance
        self._journal = journal
        self._commands = CommandQueue()
        self._startup = Startup(spec.name)
        self._draining = DrainingInstances()

    @property
    def spec(self) -> PatternSpec:
        return self._availability.spec

    @property
    def state(self) -> PatternState:
        return self._availability.state

    @property
    def status(self) -> PatternStatus:
        """Snapshot of the pattern."""
        return self._availability.status

    @property
    def instance(self) -> Instance | None:
        """Process that serves, or is being started; None: there is none."""
        return self._availability.instance

    @property
    def gateway(self) -> Gateway | None:
        """Gateway to the serving process; None while the pattern does not serve."""
        return self._availability.gateway

    async def wait_for_gateway(self) -> Gateway:
        """Return the gateway as soon as there is one; the caller bounds the wait.

        Raises:
            NotServing: the pattern does not serve, and its calls do not wait.
        """
        return await self._availability.wait_for_gateway()

    def refusal(self) -> NotServing:
        """Return the error for calls while the pattern does not serve."""
        return self._availability.refusal()

    def begin(self) -> None:
        """Launch a process, and keep the pattern served; does nothing if it already does."""
        self._loop.begin()

    async def settled(self) -> None:
        """Wait until the pattern has served or failed since it began."""
        await self._availability.settled.wait()

    async def restart(self) -> None:
        """Drain and stop the process, launch another, and wait until that serves.

        Raises:
            PreconditionFailed: the new process failed; more launches follow.
            StartupCancelled: the pattern is being drained or stopped.
        """
        await self._commands.run(self._restart())

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Refuse new operations, and finish those in flight. Only a restart serves again.

        Raises:
            PreconditionFailed: the pattern does not serve.
        """
        return await self._commands.run(self._drain(timeout))

    async def drain_for_shutdown(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Drain within the timeout, from any state; cancels start-up work.

        Returns:
            An empty report if nothing was in flight, or the drain failed.
        """
        with self._startup.blocked():
            report, _ = await asyncio.gather(
                self._try_drain(timeout), self._draining.wait_for_calls(timeout)
            )
        return report

    async def replace(self, spec: PatternSpec, *, discard_data: bool = False) -> None:
        """Launch a new process beside the old one, check it, switch over, and end the old one.

        While no process serves, there is none to compare with, and no data to lose.

        Args:
            discard_data: switch over even if the new process cannot read the old one's data.

        Raises:
            PreconditionFailed: the new process failed or was rejected; nothing has changed.
            StartupCancelled: the pattern is being drained or stopped.
        """
        closing = await self._commands.run(self._replace(spec, discard_data=discard_data))
        if closing is not None:
            await asyncio.shield(closing)

    async def stop(
        self, drain_timeout: timedelta = timedelta(), timeout: timedelta = STOP_TIMEOUT
    ) -> None:
        """End the pattern finally: drain, stop, terminate, kill; cancels start-up work.

        Safe in every state, and to repeat.
        """
        self._startup.block()
        if self.state is PatternState.STOPPING and self.instance is not None:
            # A restart is draining it; operations in flight get no more time.
            await self.instance.close("stopping", timeout)
        await self._commands.run(self._stop(drain_timeout, timeout))

    async def _restart(self) -> None:
        self._startup.check_allowed("restart")
        await self._end_process("restarting", DRAIN_TIMEOUT, STOP_TIMEOUT)
        self._loop.reset_backoff()
        self._availability.restarts += 1
        self._loop.begin()
        await self._startup.run("restart", self.settled())
        if self.state is not PatternState.SERVING:
            raise PreconditionFailed(
                f"the pattern {self.spec.name!r} was restarted and is {self.state.label}: "
                f"{self._availability.reason}",
                reason="NOT_SERVING_AGAIN",
            )

    async def _drain(self, timeout: timedelta) -> DrainReport:
        instance = self.instance
        if self.state is not PatternState.SERVING or instance is None:
            raise PreconditionFailed(
                f"the pattern {self.spec.name!r} is {self.state.label}: "
                "only a serving pattern can be drained"
            )
        await self._loop.interrupt()
        reason = "it was drained; restart it to serve again"
        self._availability.enter(PatternState.DRAINING, reason)
        self._loop.begin_drained(instance)
        return await instance.drain("draining", timeout)

    async def _try_drain(self, timeout: timedelta) -> DrainReport:
        try:
            # Bounds the wait for other commands too.
            async with asyncio.timeout((timeout + _DRAIN_GRACE).total_seconds()):
                return await self.drain(timeout)
        except (PrismError, TimeoutError):
            # Nothing to drain, or a failure that the journal has.
            return DrainReport()

    async def _replace(self, spec: PatternSpec, *, discard_data: bool) -> asyncio.Task[None] | None:
        self._startup.check_allowed("replacement")
        new = self._new_instance(spec)
        work = self._start_beside(new, discard_data=discard_data)
        try:
            await self._startup.run("replacement", work)
        except StartupCancelled as error:
            self._draining.add(new, new.close("the replacement was cancelled", DISCARD_TIMEOUT))
            self._record(EventKind.KEPT, error.message)
            raise
        except Exception as error:
            await new.close("the replacement failed")
            reason = self._loop.reason_of(error)
            self._record(EventKind.KEPT, reason)
            raise PreconditionFailed(
                f"the pattern {self.spec.name!r} was not replaced, and is unchanged: {reason}",
                reason="NOT_REPLACED",
            ) from None
        return await self._switch_over(spec, new)

    async def _start_beside(self, new: Instance, *, discard_data: bool) -> None:
        """Start the new instance, and check it."""
        served = self.gateway is not None
        await new.launch()
        await new.start()
        old = self.gateway
        if old is None and served:
            # The process to compare with has just failed.
            raise self.refusal()
        if old is not None:
            check_capabilities(old, new.gateway)
        await check_operations(new.gateway)
        if old is not None and not discard_data:
            await check_shared_data(old, new.gateway)

    async def _switch_over(self, spec: PatternSpec, new: Instance) -> asyncio.Task[None] | None:
        """Send every new call to the new instance; return the task that ends the old one."""
        pattern = self._availability
        serving = pattern.gateway is not None
        await self._loop.interrupt()
        old, pattern.instance = pattern.instance, new
        pattern.spec = spec
        pattern.restarts += 1
        self._loop.reset_backoff()
        pattern.enter(PatternState.SERVING)
        profile = new.gateway.profile
        self._record(EventKind.REPLACED, f"{profile.driver} {profile.version} serves")
        self._loop.begin_with(new)
        if old is None:
            return None
        reason = "replaced by another process; try again"
        drain_timeout = DRAIN_TIMEOUT if serving else timedelta()
        return self._draining.add(
            old, self._drain_and_close(old, reason, drain_timeout, STOP_TIMEOUT)
        )

    async def _stop(self, drain_timeout: timedelta, timeout: timedelta) -> None:
        await asyncio.gather(
            self._end_process("stopping", drain_timeout, timeout),
            self._draining.close("stopping", timeout),
        )
        self._availability.enter(PatternState.STOPPED)

    async def _end_process(self, reason: str, drain_timeout: timedelta, timeout: timedelta) -> None:
        await self._loop.interrupt()
        instance = self.instance
        if instance is None:
            return
        if self.state is not PatternState.SERVING:
            drain_timeout = timedelta()
        self._availability.enter(PatternState.STOPPING, reason)
        await self._drain_and_close(instance, reason, drain_timeout, timeout)
        self._availability.instance = None

    async def _drain_and_close(
        self, instance: Instance, reason: str, drain_timeout: timedelta, timeout: timedelta
    ) -> None:
        if drain_timeout:
            try:
                await instance.drain(reason, drain_timeout)
            except PrismError as error:
                self._record(EventKind.FAILED, f"draining: {error.message}")
        await instance.close(reason, timeout)

    def _record(self, kind: EventKind, message: str) -> None:
        self._journal.add(self.spec.name, kind, message)
