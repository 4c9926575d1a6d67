"""The lifecycle of a pattern; implements `LifecycleControl` by commands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from prism.adapters.grpc.servicers.pattern_control.commands import Commands
from prism.adapters.wire.keyvalue_messages import HEALTH_OF, STATE_OF, duration_of
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    DrainReport,
    Health,
    HealthStatus,
    Internal,
    State,
)
from prism.v1 import lifecycle_pb2 as pb

# What an answer may take beyond the time that the command itself may.
_ANSWER = timedelta(seconds=5)
# The pattern has a bound of its own on each of these, and tells when it is reached.
_BRING_UP = timedelta(seconds=60) + _ANSWER
_HEALTH_CHECK = timedelta(seconds=5) + timedelta(seconds=1)

_GONE_FROM_RUNNING = (State.DRAINING, State.STOPPED)


class PatternLifecycle:
    """The lifecycle of the driver in the process of a pattern."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._health: Health | None = None
        self._leaving = False

    async def initialize(self, settings: Mapping[str, str]) -> None:
        request = pb.InitializeRequest(settings=settings)
        await self._commands.run("initialize", request, _BRING_UP)

    async def start(self) -> None:
        await self._commands.run("start", pb.StartRequest(), _BRING_UP)

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        self._leaving = True
        request = pb.DrainRequest(timeout=duration_of(timeout))
        reply: pb.DrainResponse = await self._commands.run("drain", request, timeout + _ANSWER)
        return DrainReport(completed=reply.completed, aborted=reply.aborted)

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        self._leaving = True
        if self._commands.under_way not in ("drain", "stop"):
            # Else a driver that hangs in what it does could not be stopped.
            self._commands.give_up("is told to stop")
        request = pb.StopRequest(timeout=duration_of(timeout))
        await self._commands.run("stop", request, timeout + _ANSWER)

    async def health(self) -> Health:
        """While it is busy with another command: as of the last check.

        A driver that somebody else has drained or stopped is unhealthy, whatever its
        backend is: it refuses every call.
        """
        if self._commands.under_way and self._health is not None:
            return self._health
        self._health = self._told_in(await self._health_check())
        return self._health

    async def state(self) -> State:
        reply = await self._health_check()
        if reply.state not in STATE_OF:
            raise Internal(f"the pattern is in a state unknown here: {reply.state}")
        return STATE_OF[reply.state]

    def _told_in(self, reply: pb.HealthCheckResponse) -> Health:
        status, message = HEALTH_OF.get(reply.status, HealthStatus.UNHEALTHY), reply.message
        state = STATE_OF.get(reply.state)
        if state in _GONE_FROM_RUNNING and not self._leaving:
            status = HealthStatus.UNHEALTHY
            message = f"its driver is {state}, by another command than its proxy's: restart it"
        return Health(status, message, dict(reply.details))

    async def _health_check(self) -> pb.HealthCheckResponse:
        reply: pb.HealthCheckResponse = await self._commands.run(
            "health_check", pb.HealthCheckRequest(), _HEALTH_CHECK
        )
        return reply
