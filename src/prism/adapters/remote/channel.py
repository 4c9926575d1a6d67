"""One channel to a Prism server, and calls over it that raise our errors only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import Message

from prism.adapters.remote.calls import CLOSED
from prism.adapters.remote.methods import BY_FIELD, OPERATE, SERVICE, Method, Reply
from prism.adapters.remote.peer import Peer
from prism.adapters.remote.pending import Waiter
from prism.adapters.remote.propagation import Forwarded, TraceContext
from prism.adapters.remote.stream import NoStream, OperationStream
from prism.adapters.remote.tls import TLS
from prism.adapters.remote.watching import watching
from prism.ports import BackendUnavailable, Event, InvalidArgument, NotServing
from prism.v1 import keyvalue_pb2 as pb

_OPTIONS = [
    # The server bounds its replies; a second bound here could only disagree.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Repeating a write is the caller's decision.
    ("grpc.enable_retries", 0),
    # Each channel has a connection of its own, with the server's bound on calls in flight.
    # For watches more depends on it: on h2corn a stream that nobody reads holds up its
    # whole connection, once some megabytes wait in it.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that returns is found again within a second, not in minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Not between attempts: how long one may take.
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]

WATCH = f"{SERVICE}Watch"
PATTERN = "prism-pattern"

_STREAMED_BYTES = 128 << 10

# A deadline further away overflows inside grpc, and is over at once.
_LONGEST_S = 10.0**8

Relay: TypeAlias = Callable[[str, pb.Operation, Waiter], Callable[[], None] | None]
"""`Channel.relay`."""


class Channel:
    """Calls to one address.

    Args:
        address: `host:port` or `unix:PATH`.
        timeout: of each call.
        tls: None talks plain text.
        admin_token: shown with every call.
        pattern: behind a proxy, shall serve every call; None: its default.
        called: what errors call the server by; empty: its address.
        streams: send operations through a stream where the server has them.
        trace_context: finds what is to be handed on; None: nothing ever is.
        forwarded: finds the call on whose behalf another is made, whose deadline holds in
            place of the timeout; None: there never is one.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: timedelta,
        tls: TLS | None,
        admin_token: str | None,
        pattern: str | None = None,
        called: str = "",
        streams: bool = True,
        trace_context: Callable[[], TraceContext | None] | None = None,
        forwarded: Callable[[], Forwarded | None] | None = None,
    ) -> None:
        self.address = address
        self._peer = Peer(address, called)
        self._timeout_s = min(timeout.total_seconds(), _LONGEST_S)
        self._metadata = _metadata(admin_token, pattern)
        self._trace_context = trace_context
        self._forwarded = forwarded
        self._credentials = None if tls is None else tls.credentials()
        self._channel = self._open()
        self._watches: set[grpc.aio.Channel] = set()
        self._methods: dict[str, Any] = {}
        self._operations = OperationStream(
            self._open_stream, self._peer.stream_broke, self._timeout_s
        )
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
            encoded = request.SerializeToString()
            caller = None if self._forwarded is None else self._forwarded()
            if caller is not None:
                # All of them, so that those on one key stay in order.
                streamed, left_s = True, caller.timeout_s
            else:
                # A large one would hold up what comes after it, and gains nothing.
                streamed, left_s = len(encoded) <= _STREAMED_BYTES, None
            if streamed:
                try:
                    trace = self._trace_now(caller)
                    return await self._operations.call(method, encoded, trace, left_s)
                except NoStream:
                    self._streams = False
        return await self.unary(method.path, request, method.reply_type)

    def relay(
        self, name: str, operation: pb.Operation, waiter: Waiter
    ) -> Callable[[], None] | None:
        """As `operate`, for an operation of a stream that is being forwarded.

        Args:
            name: of its kind.
            operation: as the server shall see it, but for its id and our trace context.
            waiter: is told once, in the step in which the answer comes, and gives the
                operation up when its time is over.

        Returns:
            What gives it up; None: it has to go another way.

        Raises:
            NotServing: the channel is closed.
        """
        operations = self._operations
        if not operations.answers:
            return None
        if self._trace_context is not None and (trace := self._trace_context()) is not None:
            operation.traceparent, operation.tracestate = trace
        return partial(operations.give_up, operations.begin(BY_FIELD[name], operation, waiter))

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
            raise NotServing(CLOSED)
        method = self._methods.get(path)
        if method is None:
            # Bytes both ways, like the server; messages are ours to make.
            method = self._methods[path] = self._channel.unary_unary(path)
        caller = None if self._forwarded is None else self._forwarded()
        seconds = self._timeout_s if timeout is None else timeout.total_seconds()
        try:
            data = await method(
                request.SerializeToString(),
                timeout=seconds if caller is None else min(caller.timeout_s, _LONGEST_S),
                metadata=self._metadata_now(caller),
            )
        except grpc.aio.AioRpcError as error:
            raise self._peer.call_failed(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or task is None or task.cancelling():
                raise
            # Closing cancels calls under way, which their callers did not.
            raise BackendUnavailable("the connection was closed before the answer came") from None
        return reply_type.FromString(data)

    async def stream(
        self, path: str, request: Message, reply_type: type[Reply]
    ) -> AsyncGenerator[Reply, None]:
        """Call a method that answers with one message after another, without a deadline.

        Raises:
            PrismError: as `unary`, also later.
        """
        if self._closed:
            raise NotServing(CLOSED)
        method: Any = self._channel.unary_stream(path)
        call = method(request.SerializeToString(), metadata=self._metadata_now(None))
        try:
            async for data in call:
                yield reply_type.FromString(data)
        except grpc.aio.AioRpcError as error:
            raise self._peer.call_failed(error) from None
        finally:
            call.cancel()

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Watch over a connection of its own, so that a slow reader holds up nobody else.

        Raises:
            PrismError: as the server said.
            WatchEnded: on reading, also when the connection broke.
        """
        caller = None if self._forwarded is None else self._forwarded()
        return watching(
            self._connection_of_its_own(),
            WATCH,
            request,
            metadata=self._metadata_now(caller),
            timeout_s=self._timeout_s,
            never_stood=self._peer.call_failed,
            broke=self._peer.watch_broke,
        )

    async def close(self) -> None:
        """Close the connection; calls under way fail. Safe more than once."""
        self._closed = True
        await self._operations.close()
        for channel in (self._channel, *self._watches):
            await channel.close()

    def _trace_now(self, caller: Forwarded | None) -> TraceContext | None:
        trace = None if self._trace_context is None else self._trace_context()
        if trace is None and caller is not None and (its := caller.trace) is not None:
            return TraceContext(*its)
        return trace

    def _metadata_now(self, caller: Forwarded | None) -> tuple[tuple[str, str], ...]:
        trace = self._trace_now(caller)
        if trace is None:
            return self._metadata
        fields = zip(TraceContext._fields, trace, strict=True)
        return (*self._metadata, *(field for field in fields if field[1]))

    def _open_stream(self) -> Any:
        method: Any = self._channel.stream_stream(OPERATE)
        return method(metadata=self._metadata)

    def _open(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self._peer.target, _OPTIONS)
        return grpc.aio.secure_channel(self._peer.target, self._credentials, _OPTIONS)

    @asynccontextmanager
    async def _connection_of_its_own(self) -> AsyncIterator[grpc.aio.Channel]:
        if self._closed:
            raise NotServing(CLOSED)
        async with self._open() as channel:
            self._watches.add(channel)
            try:
                yield channel
            finally:
                self._watches.discard(channel)


def _metadata(admin_token: str | None, pattern: str | None) -> tuple[tuple[str, str], ...]:
    metadata = []
    for name, text in (("admin token", admin_token), ("pattern", pattern)):
        if text is not None and not (text.isascii() and text.isprintable()):
            raise InvalidArgument(f"the {name} must be printable ASCII")
    if admin_token:
        metadata.append(("authorization", f"Bearer {admin_token}"))
    if pattern:
        metadata.append((PATTERN, pattern))
    return tuple(metadata)
