"""The one wrapper around every call: decode, bound in time, call, encode, map errors."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.status import status_of
from prism.domain.admission import connection
from prism.ports import BackendTimeout, Exhausted, Internal, InvalidArgument, PrismError

log = logging.getLogger(__name__)

Handler = Callable[[Any, CallContext], Awaitable[Message]]


class Rejected(Exception):
    """A call that failed, with the status that its transport shall send."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


@dataclass(frozen=True, slots=True)
class UnaryCall:
    """One method of a service, from bytes to bytes.

    Attributes:
        path: `/prism.v1.KeyValueService/Get`.
        default_timeout_s: for callers that set no deadline; None: unbounded.
        max_reply_bytes: what a caller can be expected to receive.
    """

    path: str
    request_type: type[Message]
    handler: Handler
    default_timeout_s: float | None
    max_reply_bytes: int

    async def __call__(self, payload: bytes, context: CallContext) -> bytes:
        """Serve one call.

        Raises:
            Rejected: it failed; everything but being cancelled ends so.
        """
        connection.set(context.connection)
        try:
            return self._encode(await self._serve(self._decode(payload), context))
        except PrismError as error:
            raise Rejected(status_of(error)) from error
        except Exception as error:
            log.exception("unexpected error in %s", self.path)
            hidden = Internal("internal error; the server's log has the details")
            raise Rejected(status_of(hidden)) from error

    async def _serve(self, request: Message, context: CallContext) -> Message:
        timeout_s = context.timeout_s
        if timeout_s is None:
            timeout_s = self.default_timeout_s
        try:
            async with asyncio.timeout(timeout_s) as bound:
                return await self.handler(request, context)
        except TimeoutError:
            if not bound.expired():
                raise
            raise BackendTimeout(f"no answer within the deadline of {timeout_s:.3g} s") from None

    def _decode(self, payload: bytes) -> Message:
        try:
            return self.request_type.FromString(payload)
        except DecodeError:
            raise InvalidArgument(
                f"the request is not a valid {self.request_type.DESCRIPTOR.full_name}; "
                "text must be UTF-8"
            ) from None

    def _encode(self, reply: Message) -> bytes:
        data = reply.SerializeToString()
        if len(data) > self.max_reply_bytes:
            raise Exhausted(
                f"the reply has {len(data):,} bytes; the limit is {self.max_reply_bytes:,}"
            )
        return data


def unary_calls(
    service: ServiceDescriptor,
    servicer: object,
    *,
    default_timeout: timedelta | None,
    max_message_bytes: int,
) -> Mapping[str, UnaryCall]:
    """By path, the unary calls of a service that the servicer has a method for.

    A call without one is not served, which a transport answers with UNIMPLEMENTED.
    """
    calls = {}
    for method in service.methods:
        handler = getattr(servicer, _snake_case(method.name), None)
        if handler is None or method.client_streaming or method.server_streaming:
            continue
        path = f"/{service.full_name}/{method.name}"
        calls[path] = UnaryCall(
            path=path,
            request_type=GetMessageClass(method.input_type),
            handler=handler,
            default_timeout_s=default_timeout.total_seconds() if default_timeout else None,
            max_reply_bytes=max_message_bytes,
        )
    return calls


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
