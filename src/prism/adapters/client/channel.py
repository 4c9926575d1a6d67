"""Connection to a Prism server; its calls raise PrismError and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeAlias

import grpc
from google.protobuf.message import Message

from prism.adapters.client.errors import ErrorTranslator, OpenCall
from prism.adapters.client.http_proxy import proxy_options
from prism.adapters.client.operation_stream import (
    CLOSED,
    OperationStream,
    StreamsUnsupported,
)
from prism.adapters.client.propagation import Forwarded, TraceContext
from prism.adapters.client.watch import UnaryStreamMethod, Watches
from prism.adapters.wire.methods import METHODS, Method, Reply, path_of
from prism.adapters.wire.relay import Waiter
from prism.kit import FileStamp, client_tls_context, file_stamp, plain_private_key
from prism.ports import BackendUnavailable, Event, InvalidArgument, NotServing
from prism.v1 import keyvalue_pb2 as pb

_log = logging.getLogger(__name__)

PATTERN = "prism-pattern"
"""Metadata key by which a call names a pattern."""

_OPTIONS = [
    # The server limits its replies; a second limit here could only disagree.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Whether to repeat a write is the caller's decision: no policy for retries is taken from
    # anywhere. What is left of them are calls that no server has begun, such as those on the
    # way to a server that is leaving.
    ("grpc.enable_retries", 1),
    ("grpc.service_config_disable_resolution", 1),
    # Each channel has a connection of its own, with the server's limit on calls in flight.
    ("grpc.use_local_subchannel_pool", 1),
    # A server that returns is found again within a second, not in minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Longest duration of one attempt to connect, in spite of its name.
    ("grpc.min_reconnect_backoff_ms", 3000),
    ("grpc.max_reconnect_backoff_ms", 1000),
]

# A path that drops everything is noticed in the sum of both times, at most 4 s. gRPC pings
# only while there are calls, and keeps a ping of its own, which measures the bandwidth, as
# the only one in flight: its timeout has to be the same.
_PING_OPTIONS = [
    ("grpc.keepalive_time_ms", 1500),
    ("grpc.keepalive_timeout_ms", 2500),
    ("grpc.http2.ping_timeout_ms", 2500),
    ("grpc.http2.max_pings_without_data", 0),
]

# Other servers disconnect a client that pings more than twice, in 5 minutes, without getting
# data; 2 to 4 s of an idle stream are at most two pings.
_IDLE_CHECK_S = 2.0

# Files are looked at when a call begins, so seldom that it costs nothing.
_TLS_CHECK_S = 1.0

_RETIRED_GRACE_S = 86_400.0
"""Time for the calls on a connection that is replaced."""

_TOO_MANY_PINGS = "too many pings"
_SILENCE = ("ping timeout", "keepalive")

_STREAMED_BYTES = 128 << 10

# gRPC treats a longer timeout, which overflows, as expired.
_LONGEST_S = 10.0**8

_UnaryMethod: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class TLS:
    """Certificates for a connection with TLS.

    Attributes:
        ca: PEM file of the authority to trust; None: the system's authorities.
        cert: PEM file of the client's certificate, for servers that require one.
        key: PEM file of the certificate's key.
        key_password: password of the key, if it is encrypted.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    key_password: str | None = field(default=None, repr=False)

    @property
    def stamp(self) -> FileStamp:
        """What changes when a file changes."""
        return file_stamp((self.ca, self.cert, self.key))

    def credentials(self) -> grpc.ChannelCredentials:
        """Return gRPC credentials; raises InvalidArgument that names an unusable file."""
        # grpc would report nothing but an unreachable server.
        client_tls_context(ca=self.ca, cert=self.cert, key=self.key, key_password=self.key_password)
        try:
            return grpc.ssl_channel_credentials(
                None if self.ca is None else self.ca.read_bytes(),
                None if self.key is None else plain_private_key(self.key, self.key_password),
                None if self.cert is None else self.cert.read_bytes(),
            )
        except OSError as error:
            raise InvalidArgument(
                f"the TLS file {error.filename} cannot be read: {error.strerror}"
            ) from None


class ClosedChannel:
    """Stands for a channel that is not open: each call raises NotServing."""

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        raise NotServing(CLOSED)

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        raise NotServing(CLOSED)

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        raise NotServing(CLOSED)


class Channel:
    """Connection to one address; opened by the first call.

    A connection over TCP is pinged while calls or watches use it, and replaced when it stops
    answering. A Unix socket needs no pings: its end is always noticed. When the TLS files have
    changed, further calls go over a new connection, and those in flight end on the old one.

    Args:
        address: `host:port` or `unix:PATH`.
        timeout: timeout of each call.
        tls: certificates; None: plain text.
        admin_token: token to send with every call.
        pattern: name of the proxy's pattern that serves the calls; None: its default.
        name: name of the server in error messages; empty: its address.
        streams: whether to send operations through a stream, if the server supports it.
        trace_context: finds the trace context to send; None: none is ever sent.
        forwarded: finds the incoming call on whose behalf a call is made, whose deadline
            then replaces the timeout; None: there never is one.

    Raises:
        InvalidArgument: the address has neither form, a TLS file cannot be used, or the
            token or pattern cannot be sent.
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: timedelta,
        tls: TLS | None = None,
        admin_token: str | None = None,
        pattern: str | None = None,
        name: str = "",
        streams: bool = True,
        trace_context: Callable[[], TraceContext | None] | None = None,
        forwarded: Callable[[], Forwarded | None] | None = None,
    ) -> None:
        self.address = address
        self._errors = ErrorTranslator(address, name, self._on_broken)
        self._pings = not address.startswith("unix:")
        self._timeout_s = min(timeout.total_seconds(), _LONGEST_S)
        self._metadata = _metadata(admin_token, pattern)
        self._trace_context = trace_context
        self._forwarded = forwarded
        self._tls = tls
        self._tls_stamp = None if tls is None else tls.stamp
        self._tls_checked_at = 0.0
        self._credentials = None if tls is None else tls.credentials()
        self._channel = self._open()
        self._retired: dict[asyncio.Task[None], grpc.aio.Channel] = {}
        self._watches = Watches(self._open, self._errors, self._timeout_s)
        self._methods: dict[str, _UnaryMethod] = {}
        self._operations = OperationStream(
            self._open_stream,
            self._errors.of_operations,
            self._timeout_s,
            idle_check_s=_IDLE_CHECK_S if self._pings else None,
            is_leaving=self._is_leaving,
        )
        self._streams = streams
        self._closed = False

    @property
    def streams(self) -> bool:
        """Whether operations go through a stream, as far as is known."""
        return self._streams

    async def operate(self, method: Method[Reply], request: Message) -> Reply:
        """Send an operation, through the stream if the server supports it.

        Raises:
            PrismError: sent by the server, or the stream broke.
        """
        if self._streams:
            encoded = request.SerializeToString()
            caller = None if self._forwarded is None else self._forwarded()
            if caller is not None:
                # Of every size, so that operations on one key stay in order.
                streamed, left_s = True, caller.timeout_s
            else:
                # A large one would delay those after it, and gains nothing.
                streamed, left_s = len(encoded) <= _STREAMED_BYTES, None
            if streamed:
                try:
                    trace = self._current_trace(caller)
                    return await self._operations.call(method, encoded, trace, left_s)
                except StreamsUnsupported:
                    self._streams = False
        return await self.unary(method.path, request, method.reply_type)

    def relay(
        self, name: str, operation: pb.Operation, waiter: Waiter
    ) -> Callable[[], None] | None:
        """Send an operation of an incoming stream on as it came; see `RelayOperation`.

        None until the server has answered an operation stream.
        """
        operations = self._operations
        if not operations.answers:
            return None
        if self._trace_context is not None and (trace := self._trace_context()) is not None:
            operation.traceparent, operation.tracestate = trace
        return partial(operations.give_up, operations.begin(METHODS[name], operation, waiter))

    async def unary(
        self,
        path: str,
        request: Message,
        reply_type: type[Reply],
        *,
        timeout: timedelta | None = None,
    ) -> Reply:
        """Call a method.

        Args:
            timeout: timeout of this call; None: the channel's.

        Raises:
            PrismError: sent by the server, or the call failed on the way.
        """
        if self._closed:
            raise NotServing(CLOSED)
        if self._tls is not None:
            self._follow_tls_files(self._tls)
        method = self._methods.get(path)
        if method is None:
            # Bytes both ways: messages are encoded here.
            method = self._methods[path] = self._channel.unary_unary(path)
        caller = None if self._forwarded is None else self._forwarded()
        seconds = self._timeout_s if timeout is None else timeout.total_seconds()
        try:
            data = await method(
                request.SerializeToString(),
                timeout=seconds if caller is None else min(caller.timeout_s, _LONGEST_S),
                metadata=self._current_metadata(caller),
            )
        except grpc.aio.AioRpcError as error:
            raise self._errors.of_call(error) from None
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if not self._closed or task is None or task.cancelling():
                raise
            # Closing cancels the calls of callers that did not cancel them.
            raise BackendUnavailable("the connection was closed before the answer came") from None
        return reply_type.FromString(data)

    async def stream(
        self, path: str, request: Message, reply_type: type[Reply]
    ) -> AsyncGenerator[Reply, None]:
        """Call a method that answers with a stream of messages, without a deadline.

        Raises:
            PrismError: sent by the server, or the call failed on the way, at any message.
        """
        if self._closed:
            raise NotServing(CLOSED)
        method: UnaryStreamMethod = self._channel.unary_stream(path)
        call = method(request.SerializeToString(), metadata=self._current_metadata(None))
        try:
            async for data in call:
                yield reply_type.FromString(data)
        except grpc.aio.AioRpcError as error:
            raise self._errors.of_call(error) from None
        finally:
            call.cancel()

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Watch over a connection that only watches share.

        Raises:
            PrismError: on entering: refused by the server, or not started in time.
            WatchEnded: on reading: the watch ended, or the connection broke.
        """
        caller = None if self._forwarded is None else self._forwarded()
        return self._watches.open(request, self._current_metadata(caller))

    async def close(self) -> None:
        """Close the connection; calls in flight fail. Safe more than once."""
        self._closed = True
        await self._operations.close()
        await self._watches.close()
        for task in self._retired:
            task.cancel()
        for channel in (self._channel, *self._retired.values()):
            await channel.close()

    def use_tls(self, tls: TLS) -> None:
        """Use these files, or this password, for every connection from now on.

        Raises:
            InvalidArgument: a file cannot be used; nothing is changed.
        """
        self._credentials = tls.credentials()
        self._tls, self._tls_stamp = tls, tls.stamp
        self._replace_channel()

    def _follow_tls_files(self, tls: TLS) -> None:
        """Replace the connection if the files have changed."""
        now = asyncio.get_running_loop().time()
        if now - self._tls_checked_at < _TLS_CHECK_S:
            return
        self._tls_checked_at = now
        stamp = tls.stamp
        if stamp == self._tls_stamp:
            return
        self._tls_stamp = stamp
        try:
            self.use_tls(tls)
        except InvalidArgument as error:
            _log.warning("%s; those loaded before stay in use", error.message)

    def _replace_channel(self) -> None:
        """Send further calls over another connection; calls in flight end on the present one."""
        old, self._channel = self._channel, self._open()
        self._methods.clear()
        self._watches.retire_connections()
        self._operations.renew()
        task = asyncio.create_task(old.close(_RETIRED_GRACE_S))
        self._retired[task] = old
        task.add_done_callback(lambda done: self._retired.pop(done, None))

    def _is_leaving(self) -> bool:
        """Whether the server wants no more calls on the connection of the open stream."""
        return self._channel.get_state() is not grpc.ChannelConnectivity.READY

    def _current_trace(self, caller: Forwarded | None) -> TraceContext | None:
        trace = None if self._trace_context is None else self._trace_context()
        if trace is None and caller is not None and (its := caller.trace) is not None:
            return TraceContext(*its)
        return trace

    def _current_metadata(self, caller: Forwarded | None) -> tuple[tuple[str, str], ...]:
        trace = self._current_trace(caller)
        if trace is None:
            return self._metadata
        fields = zip(TraceContext._fields, trace, strict=True)
        return (*self._metadata, *(field for field in fields if field[1]))

    def _open_stream(self) -> OpenCall:
        if self._tls is not None:
            self._follow_tls_files(self._tls)
        call: OpenCall = self._channel.stream_stream(path_of("Operate"))(metadata=self._metadata)
        return call

    def _open(self) -> grpc.aio.Channel:
        options = [*_OPTIONS, *proxy_options(self.address)]
        if self._pings:
            options += _PING_OPTIONS
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.address, options)
        return grpc.aio.secure_channel(self.address, self._credentials, options)

    def _on_broken(self, details: str) -> None:
        """Handle an error that the gRPC library made: the connection cannot be used."""
        if self._closed:
            return
        details = details.lower().replace("_", " ")
        if _TOO_MANY_PINGS in details and self._pings:
            # Once at most.
            self._pings = False
            self._replace_channel()
        elif any(text in details for text in _SILENCE):
            # Their connections take the same path.
            self._watches.end_all(f"the connection to {self.address} stopped answering")


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
