"""Keeps one pattern served: by one process after another, for as long as it is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from prism.domain.patterns.availability import Availability
from prism.domain.patterns.backoff import Backoff
from prism.domain.patterns.instance import Instance
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState
from prism.domain.redaction import Redact
from prism.ports import InvalidArgument, PrismError

log = logging.getLogger(__name__)

GIVEN_UP_WITHIN = timedelta(seconds=1)
"""What a process that is of no use any more has for its stop."""


class RestartLoop(Availability):
    """A pattern, and the task that looks after it.

    Args:
        make: an instance of a spec, not launched yet.
        waits: whoever comes while it does not serve waits, instead of being refused.
        redact: hides secrets in why it fails.
    """

    def __init__(
        self,
        spec: PatternSpec,
        make: Callable[[PatternSpec], Instance],
        journal: Journal,
        backoff: Backoff,
        *,
        waits: bool = False,
        redact: Redact = str,
    ) -> None:
        super().__init__(spec, waits=waits)
        self._redact = redact
        self._make = make
        self._journal = journal
        self._backoff = backoff
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Have it served from now on, unless it is already."""
        if self._running is not None:
            return
        self._settled.clear()
        self._enter(PatternState.LAUNCHING, "")
        self._running = asyncio.create_task(self._keep_serving())

    async def _keep_serving(self, why: str = "") -> None:
        """Launch it, again and again.

        Args:
            why: the process before failed; empty: there was none.
        """
        while True:
            before = f"it failed before: {why}" if why else ""
            instance = self._instance = self._make(self.spec)
            served = timedelta()
            permanent = False
            try:
                self._enter(PatternState.LAUNCHING, before)
                await instance.launch()
                self._enter(PatternState.STARTING, before)
                await instance.start()
            except Exception as error:
                why, permanent = self._told(error), isinstance(error, InvalidArgument)
            else:
                why, served = await self._serve(instance)
            self._journal.add(self.spec.name, EventKind.FAILED, why)
            await self._back_off(instance, why, served, permanent=permanent)
            if permanent:
                return
            self._restarts += 1

    async def _serve(self, instance: Instance) -> tuple[str, timedelta]:
        """Until it fails: why, and for how long it served."""
        profile = instance.gateway.profile
        message = f"{profile.driver} {profile.version} serves"
        if profile.ephemeral and self._restarts:
            message += ", and is empty: it keeps its data in its own process"
        self._enter(PatternState.SERVING, "")
        self._journal.add(self.spec.name, EventKind.SERVING, message)
        return await self._served(instance)

    async def _served(self, instance: Instance) -> tuple[str, timedelta]:
        why = await instance.failed()
        assert instance.serving_since is not None
        return why, datetime.now(UTC) - instance.serving_since

    async def _back_off(
        self, instance: Instance, why: str, served: timedelta, *, permanent: bool
    ) -> None:
        """Clear away what failed, and wait until it is tried again."""
        delay = self._backoff.failed(served)
        state, kind = PatternState.BACKING_OFF, EventKind.BACKING_OFF
        if permanent:
            state = PatternState.FAILED
        elif self._backoff.looping:
            state, kind = PatternState.CRASH_LOOP, EventKind.CRASH_LOOP
        self._enter(state, why)
        await instance.close(why, GIVEN_UP_WITHIN)
        self._settled.set()
        if not permanent:
            seconds = delay.total_seconds()
            failures = self._backoff.failures
            self._journal.add(
                self.spec.name,
                kind,
                f"failed {failures} times in a row, tried again in {seconds:.1f} s",
            )
            await asyncio.sleep(seconds)

    async def _keep_serving_with(self, instance: Instance) -> None:
        why, served = await self._served(instance)
        self._journal.add(self.spec.name, EventKind.FAILED, why)
        await self._back_off(instance, why, served, permanent=False)
        self._restarts += 1
        await self._keep_serving(why)

    async def _keep_drained(self, instance: Instance) -> None:
        """Should it end now, it is not launched again."""
        why = await instance.failed()
        self._journal.add(self.spec.name, EventKind.FAILED, why)
        reason = f"it was drained, and then: {why}; restart it to serve again"
        self._enter(PatternState.STOPPED, reason)
        await instance.close(why, GIVEN_UP_WITHIN)

    async def _interrupt(self) -> None:
        """Nobody looks after it for the moment."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def _told(self, error: Exception) -> str:
        """What may be said of an error; one that is not ours is logged whole."""
        if isinstance(error, PrismError):
            return self._redact(error.message)
        log.error("the pattern %r: unexpected", self.spec.name, exc_info=error)
        return "an unexpected error of the proxy; its log has the details"
