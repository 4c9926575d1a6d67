"""The commands to one pattern."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

from prism.domain.commands import Commands
from prism.domain.patterns.aside import Aside
from prism.domain.patterns.backoff import Backoff
from prism.domain.patterns.bring_ups import BringUps, CutShort
from prism.domain.patterns.comparison import compare, try_alone
from prism.domain.patterns.instance import Instance
from prism.domain.patterns.journal import Journal
from prism.domain.patterns.restart_loop import GIVEN_UP_WITHIN, RestartLoop
from prism.domain.patterns.values import EventKind, PatternSpec, PatternState
from prism.domain.redaction import Redact
from prism.ports import DRAIN_TIMEOUT, STOP_TIMEOUT, DrainReport, PreconditionFailed, PrismError

# What a drain may take beyond its time: less than the state machine around all patterns has.
_LEAVE_GRACE = timedelta(milliseconds=750)


class Pattern(RestartLoop):
    """Takes a pattern in hand: what it is told runs one after another.

    Args:
        make, journal, backoff, waits, redact: as `RestartLoop` has them.
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
        super().__init__(spec, make, journal, backoff, waits=waits, redact=redact)
        self._commands = Commands()
        self._bring_ups = BringUps(spec.name)
        self._aside = Aside()

    async def restart(self) -> None:
        """Drain and stop its process, and launch another.

        Raises:
            PreconditionFailed: the other did not come to serve; it is tried again.
            CutShort: the pattern is ended meanwhile.
        """
        await self._commands.run(self._restart())

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Refuse new work and finish what is in flight; it stays so until restarted.

        Raises:
            PreconditionFailed: it does not serve.
        """
        return await self._commands.run(self._drain(timeout))

    async def leave(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        """Drain it, with all others: it waits for nothing that is brought up.

        One that does not serve has nothing in flight.
        """
        with self._bring_ups.barred():
            report, _ = await asyncio.gather(
                self._drained(timeout), self._aside.finish_calls(timeout)
            )
        return report

    async def replace(self, spec: PatternSpec, *, discard_data: bool = False) -> None:
        """Launch another beside it, switch over to that when it will do, and end the old.

        Where none serves, there is none to compare it with, and no data to lose.

        Args:
            discard_data: go on although the new one cannot read what the old one holds.

        Raises:
            PreconditionFailed: it will not do; the pattern is as before.
            CutShort: the pattern is ended meanwhile.
        """
        seeing_out = await self._commands.run(self._replace(spec, discard_data=discard_data))
        if seeing_out is not None:
            await asyncio.shield(seeing_out)

    async def stop(
        self, drain_timeout: timedelta = timedelta(), timeout: timedelta = STOP_TIMEOUT
    ) -> None:
        """End it for good: drain, stop, terminate, kill.

        Safe in every state, and more than once. It waits for nothing that is brought up.
        """
        self._bring_ups.bar()
        if self._state is PatternState.STOPPING and self._instance is not None:
            # A restart waits for its calls; they have had their time.
            await self._instance.close("stopping", timeout)
        await self._commands.run(self._stop(drain_timeout, timeout))

    async def _restart(self) -> None:
        self._bring_ups.check("restart")
        await self._finish("restarting")
        self._backoff.forget()
        self._restarts += 1
        self.begin()
        await self._bring_ups.run("restart", self._settled.wait())
        if self._state is not PatternState.SERVING:
            raise PreconditionFailed(
                f"the pattern {self.spec.name!r} was restarted and is {self._state.words}: "
                f"{self._reason}",
                reason="NOT_SERVING_AGAIN",
            )

    async def _drain(self, timeout: timedelta) -> DrainReport:
        instance = self._instance
        if self._state is not PatternState.SERVING or instance is None:
            raise PreconditionFailed(
                f"the pattern {self.spec.name!r} is {self._state.words}: "
                "only one that serves can be drained"
            )
        await self._interrupt()
        self._enter(PatternState.DRAINING, "it was drained; restart it to serve again")
        self._running = asyncio.create_task(self._keep_drained(instance))
        return await instance.finish("draining", timeout)

    async def _drained(self, timeout: timedelta) -> DrainReport:
        try:
            # Whatever else is under way.
            async with asyncio.timeout((timeout + _LEAVE_GRACE).total_seconds()):
                return await self.drain(timeout)
        except (PrismError, TimeoutError):
            # It failed, which is told elsewhere, or there was nothing to drain.
            return DrainReport()

    async def _replace(self, spec: PatternSpec, *, discard_data: bool) -> asyncio.Task[None] | None:
        self._bring_ups.check("replacement")
        new = self._make(spec)
        work = self._bring_up_beside(new, discard_data=discard_data)
        try:
            await self._bring_ups.run("replacement", work)
        except CutShort as error:
            self._aside.put(new, new.close("it was not taken", GIVEN_UP_WITHIN))
            self._journal.add(self.spec.name, EventKind.KEPT, error.message)
            raise
        except Exception as error:
            await new.close("it was not taken")
            why = self._told(error)
            self._journal.add(self.spec.name, EventKind.KEPT, why)
            raise PreconditionFailed(
                f"the pattern {self.spec.name!r} was not replaced, and is as before: {why}",
                reason="NOT_REPLACED",
            ) from None
        return await self._take_over(spec, new)

    async def _bring_up_beside(self, new: Instance, *, discard_data: bool) -> None:
        served = self.gateway is not None
        await new.launch()
        await new.start()
        if self.gateway is not None:
            await compare(self.gateway, new.gateway, discard_data=discard_data)
        elif served:
            # It was to be compared with what has just failed.
            raise self.refusal()
        else:
            await try_alone(new.gateway)

    async def _take_over(self, spec: PatternSpec, new: Instance) -> asyncio.Task[None] | None:
        """Every call from here on goes to the new one; the old one is seen out."""
        serving = self.gateway is not None
        await self._interrupt()
        old, self._instance = self._instance, new
        self.spec = spec
        self._backoff.forget()
        self._restarts += 1
        self._enter(PatternState.SERVING, "")
        profile = new.gateway.profile
        self._journal.add(
            spec.name, EventKind.REPLACED, f"{profile.driver} {profile.version} serves"
        )
        self._running = asyncio.create_task(self._keep_serving_with(new))
        if old is None:
            return None
        why = "replaced by another process; begin again"
        drain_timeout = DRAIN_TIMEOUT if serving else timedelta()
        return self._aside.put(old, self._see_out(old, why, drain_timeout, STOP_TIMEOUT))

    async def _stop(self, drain_timeout: timedelta, timeout: timedelta) -> None:
        await asyncio.gather(
            self._finish("stopping", drain_timeout, timeout),
            self._aside.close("stopping", timeout),
        )
        self._enter(PatternState.STOPPED, "")

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
        await self._see_out(instance, why, drain_timeout if serving else timedelta(), timeout)
        self._instance = None

    async def _see_out(
        self, instance: Instance, why: str, drain_timeout: timedelta, timeout: timedelta
    ) -> None:
        if drain_timeout:
            try:
                await instance.finish(why, drain_timeout)
            except PrismError as error:
                self._journal.add(self.spec.name, EventKind.FAILED, f"draining: {error.message}")
        await instance.close(why, timeout)
