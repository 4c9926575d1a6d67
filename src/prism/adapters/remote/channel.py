"""One channel to a Prism server, and calls over it that raise our errors only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message
from google.rpc import code_pb2, status_pb2

from prism.adapters.grpc.status import error_of
from prism.adapters.remote.methods import OPERATE, SERVICE, Method, Reply
from prism.adapters.remote.propagation import TraceContext
from prism.adapters.remote.stream import NoStream, OperationStream
from prism.adapters.remote.tls import TLS
from prism.adapters.remote.watching import watching
from prism.ports import (
    BackendUnavailable,
    Event,
    InvalidArgument,
    NotServing,
    PrismError,
    WatchEnded,
)
from prism.v1 import keyvalue_pb2 as pb

_OPTIONS = [
    # The server bounds its replies; a second bound here could only disagree.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Repeating a write is the caller's decision.
    ("grpc.enable_retries", 0),
    # Each channel has a connection of its own, with the server's bound on calls in flight.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that returns is found again within a second, not in minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Not between attempts: how long one may take.
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]

# On h2corn a stream that nobody reads holds up its whole connection, once some megabytes
# wait in it; and grpc shares a connection among channels unless it is told not to.
_ALONE = [*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)]

WATCH = f"{SERVICE}Watch"

_STREAMED_BYTES = 128 << 10
_CLOSED = "not serving: the connection is closed"

# A deadline further away overflows inside grpc, and is over at once.
_LONGEST_S = 10.0**8


class Calls(Protocol):
    """Something that carries calls to a server."""

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        """Call a method; raises PrismError, and nothing else."""
        ...

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        """Call a method that operation streams have too; raises as `unary` does."""
        ...

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Watch; entering, leaving and reading are as the port says."""
        ...


class Closed:
    """Calls before there is a channel, and after."""

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        raise NotServing(_CLOSED)

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        raise NotServing(_CLOSED)

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        raise NotServing(_CLOSED)


class Channel:
    """Calls to one address.

    Args:
        address: `host:port` or `unix:PATH`.
        timeout: of each call.
        tls: None talks plain text.
        admin_token: shown with every call.
        streams: send operations through a stream where the server has them.
        trace_context: finds what is to be handed on; None: nothing ever is.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: timedelta,
        tls: TLS | None,
        admin_token: str | None,
        streams: bool = True,
        trace_context: Callable[[], TraceContext | None] | None = None,
    ) -> None:
        self.address = address
        self._timeout_s = min(timeout.total_seconds(), _LONGEST_S)
        if admin_token is not None and not (admin_token.isascii() and admin_token.isprintable()):
            raise InvalidArgument("the admin token must be printable ASCII")
        self._metadata = (("authorization", f"Bearer {admin_token}"),) if admin_token else None
        self._trace_context = trace_context
        self._target = _target_of(address)
        self._credentials = None if tls is None else tls.credentials()
        self._channel = self._open(_OPTIONS)
        self._watches: set[grpc.aio.Channel] = set()
        self._methods: dict[str, Any] = {}
        self._operations = OperationStream(self._open_stream, self._broken, self._timeout_s)
        self._streams = streams
        self._closed = False

    @property
    def streams(self) -> bool:
        """Whether operations go through a stream, as far as is known."""
        return self._streams

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        """Call a method, through the stream where there is one.

        Raises:
            PrismError: as the server said, or the stream broke.
        """
        if self._streams:
            size = request.ByteSize()
            # A large one would hold up what comes after it, and gains nothing.
            if size <= _STREAMED_BYTES:
                try:
                    find = self._trace_context
                    trace = None if find is None else find()
                    return await self._operations.call(method, request, size, trace)
                except NoStream:
                    self._streams = False
        return await self.unary(method.path, request, method.reply_type)

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        """Call a method.

        Raises:
            PrismError: as the server said, or as the gRPC library did.
        """
        if self._closed:
            raise NotServing(_CLOSED)
        method = self._methods.get(path)
        if method is None:
            # Bytes both ways, like the server; messages are ours to make.
            method = self._methods[path] = self._channel.unary_unary(path)
        seconds = self._timeout_s if timeout is None else timeout.total_seconds()
        try:
            data = await method(
                request.SerializeToString(), timeout=seconds, metadata=self._metadata_now()
            )
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or task is None or task.cancelling():
                raise
            # Closing cancels calls under way, which their callers did not.
            raise BackendUnavailable("the connection was closed before the answer came") from None
        return reply_type.FromString(data)

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Watch over a connection of its own, so that a slow reader holds up nobody else.

        Raises:
            PrismError: as the server said.
            WatchEnded: on reading, also when the connection broke.
        """
        return watching(
            self._connection_of_its_own(),
            WATCH,
            request,
            metadata=self._metadata_now(),
            timeout_s=self._timeout_s,
            never_stood=self._error_of,
            broke=self._watch_broke,
        )

    async def close(self) -> None:
        """Close the connection; calls under way fail. Safe more than once."""
        self._closed = True
        await self._operations.close()
        for channel in (self._channel, *self._watches):
            await channel.close()

    def _metadata_now(self) -> tuple[tuple[str, str], ...] | None:
        trace = None if self._trace_context is None else self._trace_context()
        if trace is None:
            return self._metadata
        fields = zip(TraceContext._fields, trace, strict=True)
        return (*(self._metadata or ()), *(field for field in fields if field[1]))

    def _open_stream(self) -> Any:
        method: Any = self._channel.stream_stream(OPERATE)
        return method(metadata=self._metadata)

    def _open(self, options: list[tuple[str, int]]) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._target, options)
        return grpc.aio.secure_channel(self._target, self._credentials, options)

    @asynccontextmanager
    async def _connection_of_its_own(self) -> AsyncIterator[grpc.aio.Channel]:
        if self._closed:
            raise NotServing(_CLOSED)
        async with self._open(_ALONE) as channel:
            self._watches.add(channel)
            try:
                yield channel
            finally:
                self._watches.discard(channel)

    def _watch_broke(self, error: grpc.aio.AioRpcError) -> PrismError:
        return _told(error) or WatchEnded(
            f"the connection to {self.address} broke ({error.details()}): watch again"
        )

    def _error_of(self, error: grpc.aio.AioRpcError) -> PrismError:
        return _told(error) or error_of(self._status_of(error))

    def _broken(self, error: grpc.aio.AioRpcError) -> PrismError:
        """What becomes of the unanswered when the stream ends so."""
        told = _told(error)
        if told is not None:
            return told
        status = self._status_of(error)
        if status.code not in (code_pb2.PERMISSION_DENIED, code_pb2.UNAUTHENTICATED):
            # Whatever a library calls it, the stream is what broke.
            status.code = code_pb2.UNAVAILABLE
        return error_of(status)

    def _status_of(self, error: grpc.aio.AioRpcError) -> status_pb2.Status:
        """Made by a library on the way, and so without a word of who we talk to."""
        message = f"{self.address}: {error.details()}"
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            message = f"no Prism server answers at {self.address} ({error.details()})"
        return status_pb2.Status(code=error.code().value[0], message=message)


def _told(error: grpc.aio.AioRpcError) -> PrismError | None:
    """The error in the status's details, which only a Prism server puts there."""
    for key, value in error.trailing_metadata():
        if key == "grpc-status-details-bin" and isinstance(value, bytes):
            return error_of(status_pb2.Status.FromString(value))
    return None


def _target_of(address: str) -> str:
    if address.startswith("unix:"):
        if address == "unix:":
            raise InvalidArgument("the address 'unix:' names no socket; give unix:PATH")
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InvalidArgument(f"the address {address!r} is neither host:port nor unix:PATH")
    return address
