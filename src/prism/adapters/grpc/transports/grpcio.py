"""Servicers on grpcio, the reference implementation of gRPC.

https://grpc.github.io/grpc/python/grpc_asyncio.html
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Any, NamedTuple, NoReturn, TypeAlias, cast

import grpc
from google.rpc import status_pb2

from prism.adapters.grpc.calls import Call, Rejected, StreamCall, UnaryCall
from prism.adapters.grpc.services import Served
from prism.adapters.grpc.transports.connections import connections_at
from prism.adapters.grpc.transports.framing import HEAVY_BYTES, refused
from prism.adapters.grpc.transports.options import (
    ListenerObserver,
    ServerOptions,
    check_tcp_free,
)
from prism.adapters.grpc.transports.tls import ServerTls, TlsMaterial
from prism.adapters.sockets import clear_unix_socket, default_max_connections
from prism.adapters.wire.methods import PATTERN
from prism.domain.connection_budget import UnreadReplies
from prism.domain.turns import MessageTurns, Pace, Turns
from prism.ports import BackendTimeout, Exhausted, Outcome, PreconditionFailed

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}

_MAX_PENDING = 1 << 16

_PAUSE_S = 0.006
"""A call takes several steps between grpcio's threads and the loop, which work without a pause
would hold up."""

_MAX_STREAMS = 512
"""grpcio takes the calls of all connections one after another, each in up to half a millisecond.
This many from one connection delay those of others by no more than a quarter of a second."""

_SLICE_S = 0.01

_COUNTED_BYTES = 4096

_MAX_METADATA_BYTES = 32 << 10
"""grpcio itself counts a header that refers to the header table as one byte: a call of 4 KB can
have 15 MB of metadata."""

ServicerContext: TypeAlias = "grpc.aio.ServicerContext[bytes, bytes]"


class GrpcioServer:
    """Server on grpcio; opens nothing before `start`.

    Args:
        unread: replies that callers have not read.
        turns: turns of the event loop, in which work begins.

    Attributes:
        addresses: addresses that it listens on; empty before `start`.
    """

    def __init__(
        self, services: Served, options: ServerOptions, unread: UnreadReplies, turns: Turns
    ) -> None:
        self.addresses: tuple[str, ...] = ()
        self._services = services
        turns.slice_s, turns.pause_s = _SLICE_S, _PAUSE_S
        self._limits = _Limits(unread, turns, MessageTurns(_PAUSE_S))
        self._options = options
        self._max_connections = options.max_connections or default_max_connections()
        self._server: grpc.aio.Server | None = None
        self._certificates: _Certificates | None = None

    async def start(self) -> tuple[str, ...]:
        """Listen and serve.

        Returns:
            The addresses to connect to: `host:port`, or `unix:PATH`.

        Raises:
            PreconditionFailed: the port or socket is taken.
            InvalidArgument: a TLS file cannot be used.
        """
        server = grpc.aio.server(options=_channel_options(self._options, self._max_connections))
        server.add_generic_rpc_handlers((_Handlers(self._services.calls, self._limits),))
        tls = self._options.tls
        self._certificates = None if tls is None else _Certificates(tls.load())
        address = _listen(server, self._options, self._certificates)
        await server.start()
        self._server = server
        self.addresses = (address,)
        return self.addresses

    @property
    def connections(self) -> int:
        """Connections that are open."""
        return connections_at(self.addresses, self._max_connections)

    @property
    def refused_connections(self) -> int:
        """0: grpcio does not tell."""
        return 0

    @property
    def stalled_calls(self) -> int:
        """0: grpcio does not end calls whose caller does not read."""
        return 0

    def observe(self, observer: ListenerObserver) -> None:
        """Do nothing: grpcio keeps its listener, and accepts again after a lack of descriptors."""

    async def reload_tls(self, tls: ServerTls) -> bool:
        """Serve new connections with the present content of the files.

        Returns:
            Whether the content has changed.

        Raises:
            InvalidArgument: a file cannot be used; the content loaded before stays in use.
        """
        return self._certificates is not None and self._certificates.replace(tls.load())

    async def stop(self) -> None:
        """Refuse new calls, wait the grace period for the last answers, and close."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await server.stop(self._options.grace.total_seconds())
        if self._options.socket is not None:
            self._options.socket.unlink(missing_ok=True)


class _Limits(NamedTuple):
    """What callers share."""

    unread: UnreadReplies
    turns: Turns
    message_turns: MessageTurns


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, calls: Mapping[str, Call], limits: _Limits) -> None:
        # Without (de)serializers, so that the call wrapper decodes, and a malformed message
        # has the same status on every transport.
        self._handlers = {path: _handler_of(call, limits) for path, call in calls.items()}

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        handler = self._handlers.get(handler_call_details.method)
        if handler is None or _size_of(handler_call_details) <= _MAX_METADATA_BYTES:
            return handler
        return _REFUSES_METADATA[handler.response_streaming]


def _size_of(details: grpc.HandlerCallDetails) -> int:
    return sum(len(name) + len(value) for name, value in details.invocation_metadata or ())


async def _refuse_metadata(_: object, context: ServicerContext) -> NoReturn:
    refusal = Exhausted(
        f"the metadata has more than {_MAX_METADATA_BYTES:,} bytes: send less",
        outcome=Outcome.NOT_APPLIED,
    )
    await _abort(context, refused(refusal).status)


_REFUSES_METADATA: tuple[grpc.RpcMethodHandler[bytes, bytes], ...] = (
    grpc.unary_unary_rpc_method_handler(_refuse_metadata),
    grpc.stream_stream_rpc_method_handler(_refuse_metadata),
)


class _Context:
    __slots__ = ("_context",)

    def __init__(self, context: ServicerContext) -> None:
        self._context = context

    @property
    def connection(self) -> str:
        peer = self._context.peer()
        # On a Unix socket grpcio gives every connection the same name.
        return "" if peer.startswith("unix:") else peer

    @property
    def pattern(self) -> str:
        return self.metadata(PATTERN) or ""

    @property
    def timeout_s(self) -> float | None:
        return self._context.time_remaining()

    @property
    def authorization(self) -> str | None:
        return self.metadata("authorization")

    @property
    def certificate(self) -> str:
        for certificate in self._context.auth_context().get("x509_pem_cert", ()):
            return certificate.decode("ascii")
        return ""

    def metadata(self, name: str) -> str | None:
        found: Iterable[tuple[str, str | bytes]] = self._context.invocation_metadata() or ()
        # Every call runs this, so a loop instead of a slower generator.
        for key, value in found:
            if key == name:
                return str(value)
        return None


def _handler_of(call: Call, limits: _Limits) -> grpc.RpcMethodHandler[bytes, bytes]:
    if isinstance(call, UnaryCall):
        return grpc.unary_unary_rpc_method_handler(_carry(call, limits))
    return grpc.stream_stream_rpc_method_handler(_carry_stream(call, limits))


def _carry(
    call: UnaryCall, limits: _Limits
) -> Callable[[bytes, ServicerContext], Awaitable[bytes]]:
    unread, turns, message_turns = limits

    async def handle(payload: bytes, context: ServicerContext) -> bytes:
        adapted = _Context(context)
        try:
            if len(payload) > HEAVY_BYTES:
                await message_turns.take()
            if unread.used:
                await _wait_for_room(unread, adapted)
            if not turns.has_time():
                await turns.wait(adapted.connection)
            reply = await call(payload, adapted)
            if len(reply) > _COUNTED_BYTES:
                _count_reply(unread, adapted.connection, len(reply), context)
            return reply
        except Rejected as rejected:
            status = rejected.status
        # The frame of this call becomes part of a cycle; see _abort.
        payload = b""
        return await _abort(context, status)

    return handle


async def _wait_for_room(unread: UnreadReplies, context: _Context) -> None:
    try:
        async with asyncio.timeout(context.timeout_s):
            await unread.wait_for_room(context.connection)
    except TimeoutError:
        raise refused(
            BackendTimeout(
                "the deadline passed while earlier replies were not read",
                outcome=Outcome.NOT_APPLIED,
            )
        ) from None


def _count_reply(
    unread: UnreadReplies, connection: str, size: int, context: ServicerContext
) -> None:
    """Count a reply as unread until the call is over, which is when the caller has read it."""
    refusal = unread.refusal_of(connection, size)
    if refusal is not None:
        raise refused(refusal)
    unread.add(connection, size)

    def release(_: object) -> None:
        unread.release(connection, size)

    context.add_done_callback(cast("Any", release))


def _carry_stream(
    call: StreamCall, limits: _Limits
) -> Callable[[AsyncIterator[bytes], ServicerContext], AsyncIterator[bytes]]:
    async def handle(
        payloads: AsyncIterator[bytes], context: ServicerContext
    ) -> AsyncIterator[bytes]:
        adapted = _Context(context)
        received = _in_turns(payloads, limits, adapted.connection)
        try:
            if not limits.turns.has_time():
                await limits.turns.wait(adapted.connection)
            async with aclosing(call(received, adapted)) as replies:
                async for reply in replies:
                    yield reply
            return
        except Rejected as rejected:
            status = rejected.status
        del received, payloads
        reply = b""
        await _abort(context, status)

    return handle


async def _in_turns(
    payloads: AsyncIterator[bytes], limits: _Limits, connection: str
) -> AsyncIterator[bytes]:
    pace = Pace(limits.turns)
    async for payload in payloads:
        if len(payload) > HEAVY_BYTES:
            await limits.message_turns.take()
        yield payload
        if pace.must_wait(len(payload)):
            await limits.turns.wait(connection)


async def _abort(context: ServicerContext, status: status_pb2.Status) -> NoReturn:
    """End the call with this status.

    The context keeps the exception that this raises, and with it, by its traceback, the frames
    that led here: a cycle that lasts until the garbage collector runs. No frame in it may refer
    to a message, nor to an error whose own traceback does.
    """
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(
        _STATUS_CODES[status.code], status.message, details if status.details else ()
    )
    raise AssertionError("abort raises")


def _channel_options(options: ServerOptions, max_connections: int) -> list[tuple[str, int]]:
    return [
        # Off, because a second server could bind the same port silently.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        # Clients may ping every second, even when idle, without being disconnected.
        ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
        ("grpc.keepalive_permit_without_calls", 1),
        # A client that does not answer pings is disconnected.
        ("grpc.keepalive_time_ms", 15_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        ("grpc.max_connection_idle_ms", round(options.idle_timeout.total_seconds() * 1000)),
        ("grpc.max_allowed_incoming_connections", max_connections),
        # A proxy opens the watches of all its callers on one connection to a pattern's socket.
        (
            "grpc.max_concurrent_streams",
            options.max_streams if options.socket else min(options.max_streams, _MAX_STREAMS),
        ),
        # Admission refuses calls, with a reason; this queue before it must be the larger.
        ("grpc.server.max_pending_requests", _MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
    ]


class _Certificates:
    """Certificates of a server, which grpcio asks for at each new connection."""

    def __init__(self, material: TlsMaterial) -> None:
        self._material = material
        self._next: grpc.ServerCertificateConfiguration | None = None

    @property
    def credentials(self) -> grpc.ServerCredentials:
        return grpc.dynamic_ssl_server_credentials(
            _configuration_of(self._material),
            # None keeps the present certificates, which the stubs do not know.
            cast("Callable[[], grpc.ServerCertificateConfiguration]", self._take),
            require_client_authentication=self._material.client_ca is not None,
        )

    def replace(self, material: TlsMaterial) -> bool:
        """Use these from the next connection on; return whether they are others."""
        if material == self._material:
            return False
        self._material = material
        self._next = _configuration_of(material)
        return True

    def _take(self) -> grpc.ServerCertificateConfiguration | None:
        # Called in threads of grpcio. Each configuration is returned once: it forgets the TLS
        # sessions, so that no client skips the check of its certificate.
        taken, self._next = self._next, None
        return taken


def _configuration_of(material: TlsMaterial) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration(
        [(material.key, material.certificate)], root_certificates=material.client_ca
    )


def _listen(
    server: grpc.aio.Server, options: ServerOptions, certificates: _Certificates | None
) -> str:
    credentials = None if certificates is None else certificates.credentials
    if options.socket is not None:
        clear_unix_socket(options.socket)
        target = f"unix:{options.socket}"
        # Binding creates the socket, which must never be open to other users.
        umask = os.umask(0o177)
        try:
            _bind(server, target, credentials)
        finally:
            os.umask(umask)
        return target
    if options.port:
        check_tcp_free(options.host, options.port)
    port = _bind(server, options.tcp_target, credentials)
    return options.tcp_target.rpartition(":")[0] + f":{port}"


def _bind(server: grpc.aio.Server, target: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        if credentials is None:
            return server.add_insecure_port(target)
        return server.add_secure_port(target, credentials)
    except RuntimeError:
        raise PreconditionFailed(f"cannot listen on {target}") from None
