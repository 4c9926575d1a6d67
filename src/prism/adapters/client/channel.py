"""Connection to a Prism server; its calls raise PrismError and nothing else."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from google.protobuf.message import DecodeError, Message

from prism.adapters.client.endpoint import Endpoint
from prism.adapters.client.errors import ErrorTranslator
from prism.adapters.client.forks import PerProcess
from prism.adapters.client.grpc_call import (
    Call,
    CallFailed,
    MessageStream,
    UnaryCall,
    request_headers,
)
from prism.adapters.client.http2 import Pings
from prism.adapters.client.http2_stream import Headers
from prism.adapters.client.operation_stream import (
    CLOSED,
    OperationStream,
    StreamsUnsupported,
)
from prism.adapters.client.pending_operations import TIMEOUT_MARGIN_S
from prism.adapters.client.propagation import Forwarded, TraceContext
from prism.adapters.client.shared_connection import SharedConnection, begin_call
from prism.adapters.client.watch import HEARTBEAT, Watches
from prism.adapters.wire.keyvalue_messages import duration_of, seconds_of
from prism.adapters.wire.methods import PATTERN, Method, Reply, path_of
from prism.adapters.wire.relay import Relayed
from prism.kit import FileStamp, client_tls_context, file_stamp
from prism.ports import (
    BackendTimeout,
    BackendUnavailable,
    Event,
    Internal,
    InvalidArgument,
    NotServing,
    Outcome,
    PrismError,
)
from prism.v1 import keyvalue_pb2 as pb

_log = logging.getLogger(__name__)


_PINGS = Pings(after_s=1.0, timeout_s=1.5)
"""A path that drops everything is noticed within 3.5 s, while something is open."""

# Other servers disconnect a client that pings more than twice, in 5 minutes, without getting
# data; 2 to 4 s of an idle stream are at most two pings.
_IDLE_CHECK_S = 2.0

# Files are looked at when a call begins, so seldom that it costs nothing.
_TLS_CHECK_S = 1.0

_TOO_MANY_PINGS = "too_many_pings"

_STREAMED_BYTES = 128 << 10

# A longer timeout overflows on the way.
_LONGEST_S = 10.0**8


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
        """Identity of the content of the files."""
        return file_stamp((self.ca, self.cert, self.key))

    def context(self) -> ssl.SSLContext:
        """Return the TLS context of a connection; raises InvalidArgument that names a bad file."""
        context = client_tls_context(
            ca=self.ca, cert=self.cert, key=self.key, key_password=self.key_password
        )
        context.set_alpn_protocols(["h2"])
        return context


class Channel(PerProcess):
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
        endpoint: where the server listens; None: as the address says.
        on_lost: called when a connection has ended, with the reason; None: not reported.

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
        endpoint: Endpoint | None = None,
        on_lost: Callable[[str], None] | None = None,
    ) -> None:
        self.address = address
        self._endpoint = endpoint or Endpoint.of(address)
        self._notify_lost = on_lost
        self._errors = ErrorTranslator(address, name)
        self._pings = None if address.startswith("unix:") else _PINGS
        self._timeout_s = min(seconds_of("timeout", timeout), _LONGEST_S)
        self._pattern = pattern
        self._metadata = _metadata(admin_token, pattern)
        self._trace_context = trace_context
        self._forwarded = forwarded
        self._tls = tls
        self._tls_stamp = None if tls is None else tls.stamp
        self._tls_checked_at = 0.0
        self._context = None if tls is None else tls.context()
        self._streams = streams
        self._closed = False
        self._begin_in_process()

    def _begin(self) -> None:
        """Begin without connections: at the start, and in a forked child."""
        self._connection = self._new_connection()
        self._watches = Watches(self._new_connection, self._errors, self._timeout_s)
        self._operations = OperationStream(
            self._open_stream,
            self._errors.of_operations,
            self._timeout_s,
            idle_check_s=None if self._pings is None else _IDLE_CHECK_S,
        )

    @property
    def streams(self) -> bool:
        """Whether operations go through a stream, as far as is known."""
        return self._streams

    @property
    def timeout_s(self) -> float:
        """Timeout of each call, in seconds."""
        return self._timeout_s

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection for further calls."""
        return self._connection.is_open

    @property
    def is_answering(self) -> bool:
        """Whether there is a connection for further calls that is not silent."""
        return self._connection.is_answering

    @property
    def is_closed(self) -> bool:
        """Whether it was closed for good."""
        return self._closed

    async def operate(
        self, method: Method[Reply], request: Message, left_s: float | None = None
    ) -> Reply:
        """Send an operation, through the stream if the server supports it.

        Args:
            left_s: seconds until its deadline, which the caller enforces by cancelling; None:
                the channel's timeout holds and is enforced here.

        Raises:
            PrismError: sent by the server, or the stream broke.
        """
        self._begin_in_process()
        if self._streams:
            encoded = request.SerializeToString()
            caller = None if self._forwarded is None else self._forwarded()
            if caller is not None:
                # Of every size, so that operations on one key stay in order.
                streamed, left_s = True, caller.timeout_s
            else:
                # A large one would delay those after it, and gains nothing.
                streamed = len(encoded) <= _STREAMED_BYTES
            if streamed:
                trace = self._current_trace(caller)
                operation, future = self._operations.begin(method, encoded, trace, left_s)
                try:
                    reply: Reply = await future
                    return reply
                except asyncio.CancelledError:
                    self._operations.give_up(operation)
                    raise
                except StreamsUnsupported:
                    self._streams = False
        timeout = None if left_s is None else timedelta(seconds=left_s)
        return await self.unary(method.path, request, method.reply_type, timeout=timeout)

    def relay(self, message: pb.Operation, relayed: Relayed) -> bool:
        """Send an operation of an incoming stream on as it came; see `Relay`.

        False until the server has answered an operation stream.
        """
        operations = self._operations
        if not operations.answers:
            return False
        if self._trace_context is not None and (trace := self._trace_context()) is not None:
            message.traceparent, message.tracestate = trace
        operations.relay(message, relayed)
        return True

    def give_up(self, relayed: Relayed) -> None:
        """Cancel an operation that was relayed."""
        self._operations.give_up(relayed)

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
        caller = None if self._forwarded is None else self._forwarded()
        if caller is not None:
            seconds = min(caller.timeout_s, _LONGEST_S)
        else:
            seconds = self._timeout_s if timeout is None else timeout.total_seconds()
        headers = self._headers(path, self._current_metadata(caller), seconds)
        data = await self._call(headers, request.SerializeToString(), seconds)
        return _decoded(reply_type, data)

    async def _call(self, headers: Headers, request: bytes, seconds: float) -> bytes:
        """Make a unary call, over another connection if the server has not begun it."""
        sent = False
        moves = 0
        try:
            # The server's error about a deadline says whether the call took effect.
            async with asyncio.timeout(seconds + TIMEOUT_MARGIN_S):
                while True:
                    call = UnaryCall()
                    try:
                        await self._begin_call(call, headers, request)
                        sent = True
                        return await call.answer()
                    except CallFailed as failed:
                        sent = False
                        if not await failed.may_move(moves):
                            raise self._error_of(failed) from None
                        moves += 1
        except TimeoutError:
            if sent:
                raise BackendTimeout(f"no answer within the deadline of {seconds:.3g} s") from None
            raise BackendTimeout(
                f"{self._errors.server} was not reached within the deadline of {seconds:.3g} s",
                outcome=Outcome.NOT_APPLIED,
            ) from None

    def _error_of(self, failed: CallFailed) -> PrismError:
        if self._closed:
            return BackendUnavailable(
                "the connection was closed before the answer came",
                outcome=Outcome.NOT_APPLIED if failed.unseen else Outcome.UNKNOWN,
            )
        return self._errors.of_call(failed)

    async def stream(
        self, path: str, request: Message, reply_type: type[Reply]
    ) -> AsyncGenerator[Reply, None]:
        """Call a method that answers with a stream of messages, without a deadline.

        Raises:
            PrismError: sent by the server, or the call failed on the way, at any message.
        """
        call = MessageStream()
        headers = self._headers(path, self._current_metadata(None), None)
        try:
            await self._begin_call(call, headers, request.SerializeToString())
            async for data in call:
                yield _decoded(reply_type, data)
        except CallFailed as failed:
            raise self._error_of(failed) from None
        finally:
            call.cancel()

    async def _begin_call(self, call: Call, headers: Headers, request: bytes) -> None:
        """Begin a call with one message; raises CallFailed."""
        if self._closed:
            raise NotServing(CLOSED)
        self._begin_in_process()
        await begin_call(self._usable_connection(), call, headers, request, last=True)

    def _usable_connection(self) -> SharedConnection:
        if self._tls is not None:
            self._follow_tls_files(self._tls)
        return self._connection

    def watch(self, request: pb.WatchRequest) -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        """Watch over a connection that only watches share, with heartbeats over TCP.

        Raises:
            PrismError: on entering: refused by the server, or not started in time.
            WatchEnded: on reading: the watch ended, or the connection broke.
        """
        self._begin_in_process()
        if self._tls is not None:
            self._follow_tls_files(self._tls)
        caller = None if self._forwarded is None else self._forwarded()
        headers = self._headers(path_of("Watch"), self._current_metadata(caller), None)
        if not self._endpoint.path:
            request.heartbeat_interval.CopyFrom(duration_of(HEARTBEAT))
        return self._watches.open(request, headers)

    async def close(self) -> None:
        """Close the connection; calls in flight fail. Safe more than once."""
        self._begin_in_process()
        self._closed = True
        await self._operations.close()
        await self._watches.close()
        await self._connection.close()

    def use_tls(self, tls: TLS) -> None:
        """Use these files, or this password, for every connection from now on.

        Raises:
            InvalidArgument: a file cannot be used; nothing is changed.
        """
        self._context = tls.context()
        self._tls, self._tls_stamp = tls, tls.stamp
        self._renew_connections()

    def use_token(self, token: str | None) -> None:
        """Send this token with every call from now on, and begin another operation stream.

        Raises:
            InvalidArgument: the token cannot be sent; nothing is changed.
        """
        self._metadata = _metadata(token, self._pattern)
        self._renew_connections()

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

    def _renew_connections(self) -> None:
        """Send further calls over other connections; calls in flight end on the present ones."""
        self._connection.renew()
        self._watches.renew_connections()
        self._operations.renew()

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

    def _headers(
        self, path: str, metadata: tuple[tuple[str, str], ...], timeout_s: float | None
    ) -> Headers:
        tls = self._tls is not None
        return request_headers(self._endpoint, path, metadata, tls=tls, timeout_s=timeout_s)

    async def _open_stream(self, call: Call) -> None:
        headers = self._headers(path_of("Operate"), self._metadata, None)
        await begin_call(self._usable_connection(), call, headers, None, last=False)

    def _new_connection(self) -> SharedConnection:
        return SharedConnection(
            self._endpoint, lambda: self._context, lambda: self._pings, self._on_lost
        )

    def _on_lost(self, reason: str) -> None:
        """Stop pings after a server has ended a connection because of them."""
        if _TOO_MANY_PINGS in reason:
            self._pings = None
        if self._notify_lost is not None and not self._closed:
            self._notify_lost(reason)


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


def _decoded(reply_type: type[Reply], data: bytes) -> Reply:
    try:
        return reply_type.FromString(data)
    except DecodeError:
        raise Internal("the server sent an answer that cannot be decoded") from None
