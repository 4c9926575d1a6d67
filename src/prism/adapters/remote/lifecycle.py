"""`LifecycleControl` over a channel: what an operator, or a proxy, commands."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from google.protobuf.message import Message

from prism.adapters.remote.calls import Calls
from prism.adapters.remote.methods import Reply
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

_SERVICE = "/prism.v1.LifecycleService/"
# What an answer may take beyond the time that the command itself may.
_ANSWER = timedelta(seconds=5)


class RemoteLifecycle:
    """The lifecycle of the driver behind a Prism server."""

    def __init__(self, channel: Calls) -> None:
        self._channel = channel

    async def initialize(self, settings: Mapping[str, str]) -> None:
        request = pb.InitializeRequest(settings=settings)
        await self._call("Initialize", request, pb.InitializeResponse)

    async def start(self) -> None:
        await self._call("Start", pb.StartRequest(), pb.StartResponse)

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        request = pb.DrainRequest(timeout=duration_of(timeout))
        reply = await self._call("Drain", request, pb.DrainResponse, timeout + _ANSWER)
        return DrainReport(completed=reply.completed, aborted=reply.aborted)

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        request = pb.StopRequest(timeout=duration_of(timeout))
        await self._call("Stop", request, pb.StopResponse, timeout + _ANSWER)

    async def health(self) -> Health:
        reply = await self._health_check()
        return Health(
            HEALTH_OF.get(reply.status, HealthStatus.UNHEALTHY), reply.message, dict(reply.details)
        )

    async def state(self) -> State:
        reply = await self._health_check()
        if reply.state not in STATE_OF:
            raise Internal(f"the server is in a state unknown here: {reply.state}")
        return STATE_OF[reply.state]

    async def _health_check(self) -> pb.HealthCheckResponse:
        return await self._call("HealthCheck", pb.HealthCheckRequest(), pb.HealthCheckResponse)

    async def _call(
        self,
        method: str,
        request: Message,
        reply_type: type[Reply],
        timeout: timedelta | None = None,
    ) -> Reply:
        return await self._channel.unary(_SERVICE + method, request, reply_type, timeout=timeout)
