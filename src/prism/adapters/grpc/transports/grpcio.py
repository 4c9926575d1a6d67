"""The servicers on grpcio, the reference implementation of gRPC.

https://grpc.github.io/grpc/python/grpc_asyncio.html
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from prism.adapters.grpc.calls import Rejected, UnaryCall, unary_calls
from prism.adapters.grpc.servicers.key_value import KeyValueServicer
from prism.adapters.grpc.servicers.lifecycle import LifecycleServicer
from prism.adapters.grpc.transports.options import (
    ServerOptions,
    check_tcp_free,
    clear_unix_socket,
)
from prism.domain.readiness import Readiness, ReadinessMonitor
from prism.ports import PreconditionFailed
from prism.v1 import keyvalue_pb2, lifecycle_pb2

KEY_VALUE = keyvalue_pb2.DESCRIPTOR.services_by_name["KeyValueService"]
LIFECYCLE = lifecycle_pb2.DESCRIPTOR.services_by_name["LifecycleService"]

_STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}


class GrpcioServer:
    """Serves until stopped; nothing is opened before `start`."""

    def __init__(
        self,
        key_value: KeyValueServicer,
        lifecycle: LifecycleServicer,
        readiness: ReadinessMonitor,
        options: ServerOptions,
    ) -> None:
        self._key_value = key_value
        self._lifecycle = lifecycle
        self._readiness = readiness
        self._options = options
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> tuple[str, ...]:
        """Listen and serve.

        Returns:
            The addresses to connect to: `host:port`, or `unix:PATH`.

        Raises:
            PreconditionFailed: the port or socket is taken.
            InvalidArgument: a TLS file cannot be used.
        """
        options = self._options
        server = grpc.aio.server(options=_channel_options(options))
        server.add_generic_rpc_handlers((_Handlers(self._calls()),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if options.reflection:
            names = (KEY_VALUE.full_name, LIFECYCLE.full_name, health.SERVICE_NAME)
            reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
        address = _listen(server, options)
        await server.start()
        self._server = server
        self._readiness.observe(self._tell_health)
        return (address,)

    async def stop(self, grace: timedelta) -> None:
        """Refuse new calls, wait up to `grace` for the last answers, and close."""
        if self._server is None:
            return
        server, self._server = self._server, None
        await server.stop(grace.total_seconds())
        if self._options.socket is not None:
            self._options.socket.unlink(missing_ok=True)

    def _calls(self) -> dict[str, UnaryCall]:
        size = self._options.max_message_bytes
        data = unary_calls(
            KEY_VALUE,
            self._key_value,
            default_timeout=self._options.default_timeout,
            max_message_bytes=size,
        )
        # A drain takes as long as it says, so only the caller's deadline holds.
        control = unary_calls(
            LIFECYCLE, self._lifecycle, default_timeout=None, max_message_bytes=size
        )
        return {**data, **control}

    def _tell_health(self, readiness: Readiness) -> None:
        status = (
            health_pb2.HealthCheckResponse.SERVING
            if readiness.ready
            else health_pb2.HealthCheckResponse.NOT_SERVING
        )
        for service in ("", KEY_VALUE.full_name):
            task = asyncio.ensure_future(self._health.set(service, status))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)


class _Handlers(grpc.GenericRpcHandler):
    def __init__(self, calls: Mapping[str, UnaryCall]) -> None:
        # No (de)serializer: bytes reach our own wrapper, so that a malformed
        # message has the same status on every transport.
        self._handlers: dict[str, grpc.RpcMethodHandler[Any, Any]] = {
            path: grpc.unary_unary_rpc_method_handler(_carry(call)) for path, call in calls.items()
        }

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        return self._handlers.get(handler_call_details.method)


class _Context:
    __slots__ = ("_context",)

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._context = context

    @property
    def connection(self) -> str:
        peer = self._context.peer()
        # On a Unix socket grpcio gives every connection the same name.
        return "" if peer.startswith("unix:") else peer

    @property
    def timeout_s(self) -> float | None:
        return self._context.time_remaining()

    def metadata(self, name: str) -> str | None:
        found: Iterable[tuple[str, str | bytes]] = self._context.invocation_metadata() or ()
        return next((str(value) for key, value in found if key == name), None)


def _carry(
    call: UnaryCall,
) -> Callable[[bytes, grpc.aio.ServicerContext[Any, Any]], Awaitable[bytes]]:
    async def handle(payload: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> bytes:
        try:
            return await call(payload, _Context(context))
        except Rejected as rejected:
            status = rejected.status
            await context.abort(
                _STATUS_CODES[status.code],
                status.message,
                (("grpc-status-details-bin", status.SerializeToString()),),
            )
            raise  # abort raises; this is for the type checker

    return handle


def _channel_options(options: ServerOptions) -> list[tuple[str, int]]:
    return [
        # Off, or a second server would bind the same port silently.
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", options.max_message_bytes),
        ("grpc.max_send_message_length", options.max_message_bytes),
        # Clients may ping every 10 s, busy or not, without being sent away.
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _listen(server: grpc.aio.Server, options: ServerOptions) -> str:
    if options.tls is not None:
        options.tls.check()
    credentials = _credentials(options)
    if options.socket is not None:
        clear_unix_socket(options.socket)
        target = f"unix:{options.socket}"
        # The socket is made by the bind below, and must never be open to others.
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


def _credentials(options: ServerOptions) -> grpc.ServerCredentials | None:
    tls = options.tls
    if tls is None:
        return None
    return grpc.ssl_server_credentials(
        [(tls.key.read_bytes(), tls.cert.read_bytes())],
        root_certificates=tls.client_ca.read_bytes() if tls.client_ca else None,
        require_client_auth=tls.client_ca is not None,
    )
