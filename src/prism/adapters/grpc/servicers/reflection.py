"""Server reflection, by grpcio's own servicer, which the first call loads.

https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from grpc_reflection.v1alpha import reflection_pb2 as pb

from prism.adapters.grpc.context import CallContext

if TYPE_CHECKING:
    from grpc_reflection.v1alpha.reflection import aio

SERVICE = pb.DESCRIPTOR.services_by_name["ServerReflection"]


class ReflectionServicer:
    """Describes services to generic clients.

    Args:
        services: full names of the services.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._services = services
        self._library: aio.ReflectionServicer | None = None

    async def server_reflection_info(
        self, requests: AsyncIterator[pb.ServerReflectionRequest], context: CallContext
    ) -> AsyncIterator[pb.ServerReflectionResponse]:
        if self._library is None:
            from grpc_reflection.v1alpha.reflection import aio

            self._library = aio.ReflectionServicer((*self._services, SERVICE.full_name))
        async for reply in self._library.ServerReflectionInfo(requests, context):
            yield reply
