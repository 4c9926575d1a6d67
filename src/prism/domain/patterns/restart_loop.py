"""Keeps a pattern served: launches a process, waits for its failure, backs off, repeats."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from prism.domain.patterns.availability import Availability
from prism.domain.patterns.backoff import Backoff
from prism.domain.patterns.instance import Instance
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState
from prism.domain.redaction import Redact
from prism.ports import InvalidArgument, PrismError
from prism.ports.text import counted

log = logging.getLogger(__name__)

NewInstance: TypeAlias = Callable[[PatternSpec], Instance]
"""Makes an instance, not launched yet."""

DISCARD_TIMEOUT = timedelta(seconds=1)
"""Timeout of the stop of a process that failed or was rejected."""


class RestartLoop:
    """The task that keeps one pattern served.

    Args:
        availability: state of the pattern, which the task writes.
        redact: removes secrets from the reasons of failures.
    """

    def __init__(
        self,
        availability: Availability,
        new_instance: NewInstance,
        journal: Journal,
        backoff: Backoff,
        redact: Redact = str,
    ) -> None:
        self._availability = availability
        self._new_instance = new_instance
        self._journal = journal
        self._backoff = backoff
        self._redact = redact
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Launch a process, and keep the pattern served; does nothing if it already does."""
        if self._task is not None:
            return
        self._availability.settled.clear()
        self._availability.enter(PatternState.LAUNCHING)
        self._run(self._keep_serving())

    def begin_with(self, instance: Instance) -> None:
        """Keep the pattern served, beginning with an instance that serves already."""
        self._run(self._keep_serving_after(instance))

    def begin_drained(self, instance: Instance) -> None:
        """Watch a drained instance; when it fails, it is closed and not launched again."""
        self._run(self._watch_drained(instance))

    async def interrupt(self) -> None:
        """Cancel the task; its current instance stays as it is."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait((task,))

    def reset_backoff(self) -> None:
        """Forget earlier failures, as after an operator's command."""
        self._backoff.reset()

    def reason_of(self, error: Exception) -> str:
        """Return what may be shown of an error; an unexpected one is logged in full."""
        if isinstance(error, PrismError):
            return self._redact(error.message)
        log.error("the pattern %r: unexpected", self._availability.spec.name, exc_info=error)
        return "an unexpected error of the proxy; its log has the details"

    def _run(self, work: Coroutine[object, None, None]) -> None:
        self._task = asyncio.create_task(work)

    async def _keep_serving(self, failure: str = "") -> None:
        """Launch processes until a failure is permanent.

        Args:
            failure: why the previous process failed; empty: there was none.
        """
        pattern = self._availability
        while True:
            before = f"it failed before: {failure}" if failure else ""
            instance = pattern.instance = self._new_instance(pattern.spec)
            served = timedelta()
            permanent = False
            try:
                pattern.enter(PatternState.LAUNCHING, before)
                await instance.launch()
                pattern.enter(PatternState.STARTING, before)
                await instance.start()
            except Exception as error:
                failure, permanent = self.reason_of(error), isinstance(error, InvalidArgument)
            else:
                self._enter_serving(instance)
                failure, served = await self._wait_failed(instance)
            self._record(EventKind.FAILED, failure)
            if permanent:
                await self._give_up(instance, failure)
                return
            await self._back_off(instance, failure, served)

    async def _keep_serving_after(self, instance: Instance) -> None:
        failure, served = await self._wait_failed(instance)
        self._record(EventKind.FAILED, failure)
        await self._back_off(instance, failure, served)
        await self._keep_serving(failure)

    async def _watch_drained(self, instance: Instance) -> None:
        failure = await instance.wait_failed()
        self._record(EventKind.FAILED, failure)
        reason = f"it was drained, and then: {failure}; restart it to serve again"
        self._availability.enter(PatternState.STOPPED, reason)
        await instance.close(failure, DISCARD_TIMEOUT)

    def _enter_serving(self, instance: Instance) -> None:
        profile = instance.gateway.profile
        message = f"{profile.driver} {profile.version} serves"
        if profile.ephemeral and self._availability.restarts:
            message += ", and is empty: it keeps its data in its own process"
        self._availability.enter(PatternState.SERVING)
        self._record(EventKind.SERVING, message)

    async def _wait_failed(self, instance: Instance) -> tuple[str, timedelta]:
        """Wait until the instance fails; return the reason, and for how long it served."""
        failure = await instance.wait_failed()
        assert instance.serving_since is not None
        return failure, datetime.now(UTC) - instance.serving_since

    async def _give_up(self, instance: Instance, failure: str) -> None:
        self._availability.enter(PatternState.FAILED, failure)
        await instance.close(failure, DISCARD_TIMEOUT)
        self._availability.settled.set()

    async def _back_off(self, instance: Instance, failure: str, served: timedelta) -> None:
        """Close the failed instance, and wait until the next launch is due."""
        seconds = self._backoff.next_delay(served).total_seconds()
        state, kind = PatternState.BACKING_OFF, EventKind.BACKING_OFF
        if self._backoff.crash_looping:
            state, kind = PatternState.CRASH_LOOP, EventKind.CRASH_LOOP
        self._availability.enter(state, failure)
        await instance.close(failure, DISCARD_TIMEOUT)
        self._availability.settled.set()
        failures = self._backoff.failures
        times = counted(failures, "time")
        self._record(kind, f"failed {times} in a row; the next attempt is in {seconds:.1f} s")
        await asyncio.sleep(seconds)
        self._availability.restarts += 1

    def _record(self, kind: EventKind, message: str) -> None:
        self._journal.add(self._availability.spec.name, kind, message)
