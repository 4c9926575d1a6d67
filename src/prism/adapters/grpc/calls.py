"""The one wrapper around every call: decode, bound in time, call, encode, map errors."""

from __future__ import annotations

import logging
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from prism.adapters.grpc.context import CallContext
from prism.adapters.grpc.deadline import within
from prism.adapters.grpc.status import status_of
from prism.domain.admission import connection
from prism.ports import Exhausted, Internal, InvalidArgument, PrismError

log = logging.getLogger(__name__)

UnaryHandler = Callable[[Any, CallContext], Coroutine[Any, Any, Message]]
StreamHandler = Callable[[AsyncIterator[Any], CallContext], AsyncIterator[Message]]


class Rejected(Exception):
    """A call that failed, with the status that its transport shall send."""

    def __init__(self, status: status_pb2.Status) -> None:
        super().__init__(status.message)
        self.status = status


@dataclass(frozen=True, slots=True)
class UnaryCall:
    """A method that takes one message and answers one, from bytes to bytes.

    Attributes:
        path: `/prism.v1.KeyValueService/Get`.
        default_timeout_s: for callers that set no deadline; None: unbounded.
        max_reply_bytes: what a caller can be expected to receive.
    """

    path: str
    request_type: type[Message]
    handler: UnaryHandler
    default_timeout_s: float | None
    max_reply_bytes: int

    async def __call__(self, payload: bytes, context: CallContext) -> bytes:
        """Serve one call.

        Raises:
            Rejected: it failed; everything but being cancelled ends so.
        """
        connection.set(context.connection)
        timeout_s = context.timeout_s
        try:
            request = _decode(self.request_type, payload)
            reply = await within(
                self.default_timeout_s if timeout_s is None else timeout_s,
                self.handler(request, context),
            )
            return _encode(reply, self.max_reply_bytes)
        except Exception as error:
            raise _rejection(error, self.path) from error


@dataclass(frozen=True, slots=True)
class StreamCall:
    """A method that takes messages and answers messages, from bytes to bytes.

    It has no default deadline: a stream lasts until one side has had enough.
    """

    path: str
    request_type: type[Message]
    handler: StreamHandler
    max_reply_bytes: int

    async def __call__(
        self, payloads: AsyncIterator[bytes], context: CallContext
    ) -> AsyncIterator[bytes]:
        """Serve one call; raises as `UnaryCall` does."""
        connection.set(context.connection)
        requests = (_decode(self.request_type, payload) async for payload in payloads)
        try:
            async for reply in self.handler(requests, context):
                yield _encode(reply, self.max_reply_bytes)
        except Exception as error:
            raise _rejection(error, self.path) from error


Call = UnaryCall | StreamCall


def calls_of(
    service: ServiceDescriptor,
    servicer: object,
    *,
    default_timeout: timedelta | None,
    max_message_bytes: int,
) -> Mapping[str, Call]:
    """By path, the calls of a service that the servicer has a method for.

    A call without one is not served, which a transport answers with UNIMPLEMENTED.
    """
    calls: dict[str, Call] = {}
    for method in service.methods:
        handler = getattr(servicer, _snake_case(method.name), None)
        if handler is None:
            continue
        path = f"/{service.full_name}/{method.name}"
        request_type = GetMessageClass(method.input_type)
        if method.client_streaming or method.server_streaming:
            calls[path] = StreamCall(path, request_type, handler, max_message_bytes)
        else:
            timeout_s = default_timeout.total_seconds() if default_timeout else None
            calls[path] = UnaryCall(path, request_type, handler, timeout_s, max_message_bytes)
    return calls


def _decode(request_type: type[Message], payload: bytes) -> Message:
    try:
        return request_type.FromString(payload)
    except DecodeError:
        raise InvalidArgument(
            f"the request is not a valid {request_type.DESCRIPTOR.full_name}; text must be UTF-8"
        ) from None


def _encode(reply: Message, limit: int) -> bytes:
    data = reply.SerializeToString()
    if len(data) > limit:
        raise Exhausted(f"the reply has {len(data):,} bytes; the limit is {limit:,}")
    return data


def _rejection(error: Exception, path: str) -> Rejected:
    if isinstance(error, PrismError):
        return Rejected(status_of(error))
    if isinstance(error, Rejected):
        return error
    log.error("unexpected error in %s", path, exc_info=error)
    return Rejected(status_of(Internal("internal error; the server's log has the details")))


def _snake_case(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
