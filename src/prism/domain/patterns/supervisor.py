"""Keeps one pattern served: by one process after another, for as long as it is wanted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from prism.domain.commands import Commands
from prism.domain.patterns.backoff import Backoff
from prism.domain.patterns.comparison import compare
from prism.domain.patterns.instance import Instance
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.pattern import Pattern
from prism.domain.patterns.values import EventKind, PatternState, Plan
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    DrainReport,
    InvalidArgument,
    PreconditionFailed,
    PrismError,
)

log = logging.getLogger(__name__)


class Supervisor(Pattern):
    """A pattern, and the commands to it, which run one after another.

    Args:
        make: an instance of a plan, not launched yet.
        waits: whoever comes while it does not serve waits, instead of being refused.
    """

    def __init__(
        self,
        plan: Plan,
        make: Callable[[Plan], Instance],
        journal: Journal,
        backoff: Backoff,
        *,
        waits: bool = False,
    ) -> None:
        super().__init__(plan, waits=waits)
        self._make = make
        self._journal = journal
        self._backoff = backoff
        self._commands = Commands()
        self._running: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Have it served from now on."""
        self._settled.clear()
        self._enter(PatternState.LAUNCHING, "")
        self._running = asyncio.create_task(self._keep_serving())

    async def restart(self) -> None:
        """Drain and stop its process, and launch another.

        Raises:
            PreconditionFailed: the other did not come to serve; it is tried again.
        """
        await self._commands.run(self._restart())

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Refuse new work and finish what is in flight; it stays so until restarted.

        Raises:
            PreconditionFailed: it does not serve.
        """
        return await self._commands.run(self._drain(timeout))

    async def replace(self, plan: Plan, *, discard_data: bool = False) -> None:
        """Launch another beside it, switch over to that when it will do, and end the old.

        Args:
            discard_data: go on although the new one cannot read what the old one holds.

        Raises:
            PreconditionFailed: it will not do; the old one serves as before.
        """
        await self._commands.run(self._replace(plan, discard_data=discard_data))

    async def stop(
        self, drain_timeout: timedelta = timedelta(), timeout: timedelta = STOP_TIMEOUT
    ) -> None:
        """End it: drain, stop, terminate, kill. Safe in every state, and more than once."""
        await self._commands.run(self._stop(drain_timeout, timeout))

    async def _restart(self) -> None:
        await self._finish("restarting")
        self._backoff.forget()
        self._restarts += 1
        self.begin()
        await self._settled.wait()
        if self._state is not PatternState.SERVING:
            raise PreconditionFailed(
                f"the pattern {self.plan.name!r} was restarted and is {self._state.words}: "
                f"{self._reason}",
                reason="NOT_SERVING_AGAIN",
            )

    async def _drain(self, timeout: timedelta) -> DrainReport:
        instance = self._instance
        if self._state is not PatternState.SERVING or instance is None:
            raise PreconditionFailed(
                f"the pattern {self.plan.name!r} is {self._state.words}: "
                "only one that serves can be drained"
            )
        # Should it end now, it is not launched again.
        await self._interrupt()
        self._enter(PatternState.DRAINING, "it was drained; restart it to serve again")
        return await instance.finish("draining", timeout)

    async def _replace(self, plan: Plan, *, discard_data: bool) -> None:
        new = self._make(plan)
        try:
            await self._bring_up_beside(new, discard_data=discard_data)
        except Exception as error:
            await new.close("it was not taken")
            why = self._told(error)
            self._journal.add(self.plan.name, EventKind.KEPT, why)
            raise PreconditionFailed(
                f"the pattern {self.plan.name!r} was not replaced, and is as before: {why}",
                reason="NOT_REPLACED",
            ) from None
        old = await self._take_over(plan, new)
        if old is not None:
            why = "replaced by another process; begin again"
            await self._finish_calls(old, why, DRAIN_TIMEOUT)
            await old.close(why)

    async def _bring_up_beside(self, new: Instance, *, discard_data: bool) -> None:
        if self.gateway is None:
            raise self.refusal()
        await new.launch()
        await new.start()
        if self.gateway is None:
            raise self.refusal()
        await compare(self.gateway, new.gateway, discard_data=discard_data)

    async def _stop(self, drain_timeout: timedelta, timeout: timedelta) -> None:
        await self._finish("stopping", drain_timeout, timeout)
        self._enter(PatternState.STOPPED, "")

    async def _keep_serving(self) -> None:
        while True:
            instance = self._instance = self._make(self.plan)
            served = timedelta()
            permanent = False
            try:
                self._enter(PatternState.LAUNCHING, "")
                await instance.launch()
                self._enter(PatternState.STARTING, "")
                await instance.start()
            except Exception as error:
                why, permanent = self._told(error), isinstance(error, InvalidArgument)
            else:
                why, served = await self._serve(instance)
            self._journal.add(self.plan.name, EventKind.FAILED, why)
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
        self._journal.add(self.plan.name, EventKind.SERVING, message)
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
        await instance.close(why, timedelta(seconds=1))
        self._settled.set()
        if not permanent:
            seconds = delay.total_seconds()
            failures = self._backoff.failures
            self._journal.add(
                self.plan.name,
                kind,
                f"failed {failures} times in a row, tried again in {seconds:.1f} s",
            )
            await asyncio.sleep(seconds)

    async def _take_over(self, plan: Plan, new: Instance) -> Instance | None:
        """Every call from here on goes to the new one; the old one, if it still runs."""
        await self._interrupt()
        old, self._instance = self._instance, new
        self.plan = plan
        self._backoff.forget()
        self._restarts += 1
        self._enter(PatternState.SERVING, "")
        profile = new.gateway.profile
        self._journal.add(
            plan.name, EventKind.REPLACED, f"{profile.driver} {profile.version} serves"
        )
        self._running = asyncio.create_task(self._keep_serving_with(new))
        return old

    async def _keep_serving_with(self, instance: Instance) -> None:
        why, served = await self._served(instance)
        self._journal.add(self.plan.name, EventKind.FAILED, why)
        await self._back_off(instance, why, served, permanent=False)
        self._restarts += 1
        await self._keep_serving()

    async def _finish(
        self,
        why: str,
        drain_timeout: timedelta = DRAIN_TIMEOUT,
        timeout: timedelta = STOP_TIMEOUT,
    ) -> None:
        await self._interrupt()
        instance = self._instance
        if instance is None:
            return
        serving = self._state is PatternState.SERVING
        self._enter(PatternState.STOPPING, why)
        if serving and drain_timeout:
            await self._finish_calls(instance, why, drain_timeout)
        await instance.close(why, timeout)
        self._instance = None

    async def _finish_calls(self, instance: Instance, why: str, timeout: timedelta) -> None:
        try:
            await instance.finish(why, timeout)
        except PrismError as error:
            self._journal.add(self.plan.name, EventKind.FAILED, f"draining: {error.message}")

    async def _interrupt(self) -> None:
        """Nobody looks after it for the moment."""
        running, self._running = self._running, None
        if running is not None:
            running.cancel()
            await asyncio.wait((running,))

    def _told(self, error: Exception) -> str:
        """What may be said of an error; one that is not ours is logged whole."""
        if isinstance(error, PrismError):
            return error.message
        log.error("the pattern %r: unexpected", self.plan.name, exc_info=error)
        return "an unexpected error of the proxy; its log has the details"
