"""Standard gRPC health service, which reports the readiness of the server.

Not grpcio's, because that one requires grpcio's server: this one runs on every transport.
https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from google.rpc import code_pb2, status_pb2
from grpc_health.v1 import health_pb2 as pb

from prism.adapters.grpc.calls import Rejected
from prism.adapters.grpc.context import CallContext
from prism.adapters.wire.status import sendable
from prism.domain.readiness import Readiness, ReadinessMonitor

OVERALL = ""
SERVICE = pb.DESCRIPTOR.services_by_name["Health"]


class HealthServicer:
    """Check, List and Watch, as the standard describes them.

    Args:
        services: names of services that share the readiness of the server as a whole.
    """

    def __init__(self, readiness: ReadinessMonitor, services: tuple[str, ...]) -> None:
        self._readiness = readiness
        self._services = (OVERALL, *services)
        self._changed = asyncio.Event()
        readiness.observe(self._notify)

    async def check(
        self, request: pb.HealthCheckRequest, context: CallContext
    ) -> pb.HealthCheckResponse:
        if request.service not in self._services:
            unknown = sendable(f"unknown service {request.service!r}")
            raise Rejected(status_pb2.Status(code=code_pb2.NOT_FOUND, message=unknown))
        return self._status_of(request.service)

    async def list(
        self, request: pb.HealthListRequest, context: CallContext
    ) -> pb.HealthListResponse:
        return pb.HealthListResponse(
            statuses={service: self._status_of(service) for service in self._services}
        )

    async def watch(
        self, requests: AsyncIterator[pb.HealthCheckRequest], context: CallContext
    ) -> AsyncIterator[pb.HealthCheckResponse]:
        async for request in requests:
            sent: pb.HealthCheckResponse | None = None
            while True:
                changed = self._changed
                current = self._status_of(request.service)
                if current != sent:
                    sent = current
                    yield current
                await changed.wait()

    def _status_of(self, service: str) -> pb.HealthCheckResponse:
        if service not in self._services:
            return pb.HealthCheckResponse(status=pb.HealthCheckResponse.SERVICE_UNKNOWN)
        ready = self._readiness.current.ready
        serving = pb.HealthCheckResponse.SERVING
        return pb.HealthCheckResponse(
            status=serving if ready else pb.HealthCheckResponse.NOT_SERVING
        )

    def _notify(self, readiness: Readiness) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
