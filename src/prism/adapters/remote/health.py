"""The standard health service, as a client asks it.

https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

from grpc_health.v1 import health_pb2

from prism.adapters.remote.calls import Calls

SERVING = "SERVING"


async def ask_health(channel: Calls) -> str:
    """How the server as a whole fares: `SERVING`, `NOT_SERVING`, …"""
    reply = await channel.unary(
        "/grpc.health.v1.Health/Check",
        health_pb2.HealthCheckRequest(),
        health_pb2.HealthCheckResponse,
    )
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(reply.status))
