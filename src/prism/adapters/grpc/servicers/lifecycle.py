"""LifecycleService: commands of the state machine, protected by the admin token."""

from __future__ import annotations

from prism.adapters.grpc.admin_guard import Guard
from prism.adapters.grpc.context import CallContext
from prism.adapters.wire.keyvalue_messages import HEALTH, STATES, timedelta_of
from prism.adapters.wire.status import encodable
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    LifecycleControl,
)
from prism.v1 import lifecycle_pb2 as pb


class LifecycleServicer:
    """One method for each call of `proto/prism/v1/lifecycle.proto`, which describes them."""

    def __init__(self, lifecycle: LifecycleControl, guard: Guard) -> None:
        self._lifecycle = lifecycle
        self._guard = guard

    async def initialize(
        self, request: pb.InitializeRequest, context: CallContext
    ) -> pb.InitializeResponse:
        await self._guard.check(context)
        await self._lifecycle.initialize(request.settings)
        return pb.InitializeResponse(state=await self._state())

    async def start(self, request: pb.StartRequest, context: CallContext) -> pb.StartResponse:
        await self._guard.check(context)
        await self._lifecycle.start()
        return pb.StartResponse(state=await self._state())

    async def drain(self, request: pb.DrainRequest, context: CallContext) -> pb.DrainResponse:
        await self._guard.check(context)
        given = request.HasField("timeout")
        timeout = timedelta_of(request.timeout) if given else DRAIN_TIMEOUT
        report = await self._lifecycle.drain(timeout)
        return pb.DrainResponse(
            state=await self._state(), completed=report.completed, aborted=report.aborted
        )

    async def stop(self, request: pb.StopRequest, context: CallContext) -> pb.StopResponse:
        await self._guard.check(context)
        given = request.HasField("timeout")
        await self._lifecycle.stop(timedelta_of(request.timeout) if given else STOP_TIMEOUT)
        return pb.StopResponse(state=await self._state())

    async def health_check(
        self, request: pb.HealthCheckRequest, context: CallContext
    ) -> pb.HealthCheckResponse:
        await self._guard.check(context)
        health = await self._lifecycle.health()
        return pb.HealthCheckResponse(
            state=await self._state(),
            status=HEALTH[health.status],
            message=encodable(health.message),
            details={encodable(name): encodable(text) for name, text in health.details.items()},
        )

    async def _state(self) -> pb.LifecycleState:
        return STATES[await self._lifecycle.state()]
