"""Lifecycle commands and health of a server, over a channel."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta

from google.protobuf.message import Message

from prism.adapters.client.channel import Channel
from prism.adapters.client.key_value import Operations
from prism.adapters.client.propagation import TraceContext
from prism.adapters.wire.keyvalue_messages import HEALTH_OF, STATE_OF, duration_of
from prism.adapters.wire.methods import Reply
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

SERVING = "SERVING"

REPLY_MARGIN = timedelta(seconds=5)
"""How long a reply may take beyond the timeout of the command itself."""

_SERVICE = "/prism.v1.LifecycleService/"
# A pattern limits these commands itself, and its own error is the better one.
_PATTERN_START_TIMEOUT = timedelta(seconds=60) + REPLY_MARGIN
_PATTERN_HEALTH_TIMEOUT = timedelta(seconds=5) + timedelta(seconds=1)
# Belongs to no sampled trace: health checks of a proxy would otherwise start one every second.
_NOT_SAMPLED = TraceContext(f"00-{1:032x}-{1:016x}-00", "")


class LifecycleClient:
    """`LifecycleControl` of the driver behind a Prism server; raises PrismError.

    Args:
        health_timeout: timeout of each health check; None: the channel's.
    """

    def __init__(self, channel: Channel, health_timeout: timedelta | None = None) -> None:
        self._channel = channel
        self._health_timeout = health_timeout

    async def initialize(self, settings: Mapping[str, str]) -> None:
        request = pb.InitializeRequest(settings=settings)
        await self._call("Initialize", request, pb.InitializeResponse)

    async def start(self) -> None:
        await self._call("Start", pb.StartRequest(), pb.StartResponse)

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        request = pb.DrainRequest(timeout=duration_of(timeout))
        reply = await self._call("Drain", request, pb.DrainResponse, timeout + REPLY_MARGIN)
        return DrainReport(completed=reply.completed, aborted=reply.aborted)

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        request = pb.StopRequest(timeout=duration_of(timeout))
        await self._call("Stop", request, pb.StopResponse, timeout + REPLY_MARGIN)

    async def health(self) -> Health:
        reply = await self._health_check()
        return Health(
            HEALTH_OF.get(reply.status, HealthStatus.UNHEALTHY), reply.message, dict(reply.details)
        )

    async def state(self) -> State:
        reply = await self._health_check()
        if reply.state not in STATE_OF:
            raise Internal(f"the server is in a state unknown to this client: {reply.state}")
        return STATE_OF[reply.state]

    async def _health_check(self) -> pb.HealthCheckResponse:
        return await self._call(
            "HealthCheck", pb.HealthCheckRequest(), pb.HealthCheckResponse, self._health_timeout
        )

    async def _call(
        self,
        method: str,
        request: Message,
        reply_type: type[Reply],
        timeout: timedelta | None = None,
    ) -> Reply:
        return await self._channel.unary(_SERVICE + method, request, reply_type, timeout=timeout)


@asynccontextmanager
async def pattern_lifecycle(name: str, address: str) -> AsyncIterator[LifecycleClient]:
    """Connect to a pattern of this proxy, to command its driver.

    Args:
        name: name of the pattern, for error messages.
        address: address of its gRPC services.
    """
    channel = Channel(
        address,
        timeout=_PATTERN_START_TIMEOUT,
        name=f"the pattern {name!r}",
        trace_context=lambda: _NOT_SAMPLED,
    )
    try:
        yield LifecycleClient(channel, _PATTERN_HEALTH_TIMEOUT)
    finally:
        await channel.close()


async def serving_status(channel: Operations) -> str:
    """Return the status of the server as a whole: `SERVING`, `NOT_SERVING`, …

    https://github.com/grpc/grpc/blob/master/doc/health-checking.md

    Raises:
        PrismError: the server does not answer, or refuses the call.
    """
    # Of a package that an application without a server may not have.
    from grpc_health.v1 import health_pb2

    reply = await channel.unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest(),
        health_pb2.HealthCheckResponse,
    )
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))
