"""Whether a pattern serves, and the gateway that its callers use."""

from __future__ import annotations

import asyncio

from prism.domain.gateway import Gateway
from prism.domain.patterns.instance import Instance
from prism.domain.patterns.values import PatternSpec, PatternState, PatternStatus
from prism.ports import NotServing

# Only a command to the pattern leaves these states.
_UNTIL_RESTARTED = (PatternState.DRAINING, PatternState.FAILED, PatternState.STOPPED)


class Availability:
    """State of one pattern, written by its restart loop and commands, read by its callers.

    Args:
        wait_while_down: calls wait while the pattern does not serve, instead of being refused.

    Attributes:
        instance: process that serves, or is being started; None: there is none.
        gateway: gateway to the serving process; None while the pattern does not serve.
        restarts: number of launches after the first, for any cause.
        settled: set once the pattern has served or failed since its last begin.
    """

    def __init__(self, spec: PatternSpec, *, wait_while_down: bool = False) -> None:
        self.spec = spec
        self.instance: Instance | None = None
        self.gateway: Gateway | None = None
        self.state = PatternState.STOPPED
        self.reason = ""
        self.restarts = 0
        self.settled = asyncio.Event()
        self._wait_while_down = wait_while_down
        self._changed = asyncio.Event()

    @property
    def status(self) -> PatternStatus:
        """Snapshot of the pattern."""
        instance = self.instance
        serving = instance is not None and self.state is PatternState.SERVING
        return PatternStatus(
            name=self.spec.name,
            driver=self.spec.driver,
            state=self.state,
            reason=self.reason,
            process_id=None if instance is None else instance.process_id,
            registration=None if instance is None else instance.registration,
            serving_since=instance.serving_since if instance is not None and serving else None,
            restarts=self.restarts,
            # The last health check of a process does not count after the process has ended.
            health=None if instance is None or instance.process_id is None else instance.health,
            in_flight=0 if instance is None else instance.in_flight,
        )

    def enter(self, state: PatternState, reason: str = "") -> None:
        """Change the state; SERVING opens the gateway of the instance to callers."""
        self.state, self.reason = state, reason
        self.gateway = None
        if state is PatternState.SERVING:
            assert self.instance is not None, "only an instance can serve"
            self.gateway = self.instance.gateway
            self.settled.set()
        self._changed.set()

    async def wait_for_gateway(self) -> Gateway:
        """Return the gateway as soon as there is one; the caller bounds the wait.

        Raises:
            NotServing: the pattern does not serve, and its calls do not wait.
        """
        while (gateway := self.gateway) is None:
            if not self._wait_while_down or self.state in _UNTIL_RESTARTED:
                raise self.refusal()
            self._changed.clear()
            await self._changed.wait()
        return gateway

    def refusal(self) -> NotServing:
        """Return the error for calls while the pattern does not serve."""
        because = f": {self.reason}" if self.reason else ""
        return NotServing(f"the pattern {self.spec.name!r} is {self.state.label}{because}")
