"""PatternControlService, in front of the reception."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.servicers.pattern_control.reception import PatternReception
from prism.ports import BackendTimeout, InvalidArgument
from prism.v1 import pattern_pb2 as pb

_BEARER = "Bearer "


class PatternControlServicer:
    """The one call of `proto/prism/v1/pattern.proto`, which describes it."""

    def __init__(self, reception: PatternReception) -> None:
        self._reception = reception
        self._patience_s = reception.options.registration_timeout.total_seconds()

    async def connect(
        self, requests: AsyncIterator[pb.ConnectRequest], context: CallContext
    ) -> AsyncGenerator[pb.ConnectResponse, None]:
        shown = (context.metadata("authorization") or "").removeprefix(_BEARER)
        # Read before anything is refused: a stream that ends while its caller still
        # writes fails there without the status.
        registration = await self._registration_in(requests)
        session = self._reception.admit(shown, registration)
        async with aclosing(session.converse(requests)) as messages:
            async for message in messages:
                yield message

    async def _registration_in(self, requests: AsyncIterator[pb.ConnectRequest]) -> pb.Registration:
        try:
            async with asyncio.timeout(self._patience_s):
                first = await anext(requests)
        except TimeoutError:
            raise BackendTimeout(f"no registration came within {self._patience_s:g} s") from None
        except StopAsyncIteration:
            raise InvalidArgument("the stream ended before there was a registration") from None
        if first.WhichOneof("message") != "registration":
            raise InvalidArgument("the first message of a stream has to be a registration")
        return first.registration
