"""One pattern, as those see it who call it."""

from __future__ import annotations

import asyncio

from prism.domain.gateway import Gateway
from prism.domain.patterns.instance import Instance
from prism.domain.patterns.values import PatternSpec, PatternState, PatternStatus
from prism.ports import NotServing

# Nobody comes out of these but by a command.
_UNTIL_RESTARTED = (PatternState.DRAINING, PatternState.FAILED, PatternState.STOPPED)


class Availability:
    """Where it is, and the way in.

    Args:
        waits: whoever comes while it does not serve waits, instead of being refused.

    Attributes:
        spec: what it is to be.
        gateway: in front of the pattern; None while it does not serve.
    """

    def __init__(self, spec: PatternSpec, *, waits: bool = False) -> None:
        self.spec = spec
        self.gateway: Gateway | None = None
        self._waits = waits
        self._instance: Instance | None = None
        self._state = PatternState.STOPPED
        self._reason = ""
        self._restarts = 0
        self._settled = asyncio.Event()
        self._changed = asyncio.Event()

    @property
    def state(self) -> PatternState:
        return self._state

    @property
    def instance(self) -> Instance | None:
        """The process that serves, or is about to; None: there is none."""
        return self._instance

    @property
    def status(self) -> PatternStatus:
        """The pattern now."""
        instance = self._instance
        return PatternStatus(
            name=self.spec.name,
            driver=self.spec.driver,
            state=self._state,
            reason=self._reason,
            process_id=None if instance is None else instance.process_id,
            registration=None if instance is None else instance.registration,
            serving_since=instance.serving_since
            if instance is not None and self._state is PatternState.SERVING
            else None,
            restarts=self._restarts,
            # Of a process that has ended, the last check says nothing.
            health=None if instance is None or instance.process_id is None else instance.health,
            in_flight=instance.in_flight if instance is not None else 0,
        )

    async def wait_for_gateway(self) -> Gateway:
        """The gateway, as soon as there is one; the caller bounds it.

        Raises:
            NotServing: it does not serve, and whoever comes does not wait for that.
        """
        while (gateway := self.gateway) is None:
            if not self._waits or self._state in _UNTIL_RESTARTED:
                raise self.refusal()
            self._changed.clear()
            await self._changed.wait()
        return gateway

    def refusal(self) -> NotServing:
        """What is answered while it does not serve."""
        because = f": {self._reason}" if self._reason else ""
        return NotServing(f"the pattern {self.spec.name!r} is {self._state.words}{because}")

    async def settled(self) -> None:
        """Wait until it has served, or failed, for the first time since it was begun."""
        await self._settled.wait()

    def _enter(self, state: PatternState, reason: str) -> None:
        self._state, self._reason = state, reason
        if state is PatternState.SERVING and self._instance is not None:
            self.gateway = self._instance.gateway
        else:
            self.gateway = None
        if state is PatternState.SERVING:
            self._settled.set()
        self._changed.set()
