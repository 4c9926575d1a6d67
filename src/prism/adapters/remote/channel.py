"""One channel to a Prism server, and calls over it that raise our errors only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message
from google.rpc import status_pb2

from prism.adapters.grpc.status import error_of
from prism.ports import InvalidArgument, NotServing, PrismError

Reply = TypeVar("Reply", bound=Message)

_OPTIONS = [
    # The server bounds its replies; a second bound here could only disagree.
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    # Repeating a write is the caller's decision.
    ("grpc.enable_retries", 0),
    # A server that returns is found again within a second, not in minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]


@dataclass(frozen=True, slots=True)
class TLS:
    """How to talk TLS to a server.

    Attributes:
        ca: PEM file of the authority to trust; None: those of the system.
        cert: PEM file of our own certificate, where the server wants one.
        key: PEM file of its key.
    """

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises InvalidArgument that names a file which cannot be read."""
        if (self.cert is None) != (self.key is None):
            raise InvalidArgument("a TLS certificate needs its key, and a key its certificate")
        return grpc.ssl_channel_credentials(_read(self.ca), _read(self.key), _read(self.cert))


class Calls(Protocol):
    """Something that carries unary calls to a server."""

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
        raise NotServing("not serving: the connection is closed")


class Channel:
    """Unary calls to one address.

    Args:
        address: `host:port` or `unix:PATH`.
        timeout: of each call.
        tls: None talks plain text.
        admin_token: shown with every call.
    """

    def __init__(
        self, address: str, *, timeout: timedelta, tls: TLS | None, admin_token: str | None
    ) -> None:
        self.address = address
        self._timeout_s = timeout.total_seconds()
        self._metadata = (("authorization", f"Bearer {admin_token}"),) if admin_token else None
        target = _target_of(address)
        if tls is None:
            self._channel = grpc.aio.insecure_channel(target, _OPTIONS)
        else:
            self._channel = grpc.aio.secure_channel(target, tls.credentials(), _OPTIONS)
        self._methods: dict[str, Any] = {}

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
        method = self._methods.get(path)
        if method is None:
            # Bytes both ways, like the server; messages are ours to make.
            method = self._methods[path] = self._channel.unary_unary(path)
        seconds = self._timeout_s if timeout is None else timeout.total_seconds()
        try:
            data = await method(
                request.SerializeToString(), timeout=seconds, metadata=self._metadata
            )
        except grpc.aio.AioRpcError as error:
            raise self._error_of(error) from None
        return reply_type.FromString(data)

    async def close(self) -> None:
        """Close the connection; calls under way fail. Safe more than once."""
        await self._channel.close()

    def _error_of(self, error: grpc.aio.AioRpcError) -> PrismError:
        for key, value in error.trailing_metadata():
            if key == "grpc-status-details-bin" and isinstance(value, bytes):
                return error_of(status_pb2.Status.FromString(value))
        # Made by a library on the way, and so without a word of who we talk to.
        message = f"{self.address}: {error.details()}"
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            message = f"no Prism server answers at {self.address} ({error.details()})"
        return error_of(status_pb2.Status(code=error.code().value[0], message=message))


def _target_of(address: str) -> str:
    if address.startswith("unix:"):
        if address == "unix:":
            raise InvalidArgument("the address 'unix:' names no socket; give unix:PATH")
        return address
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise InvalidArgument(f"the address {address!r} is neither host:port nor unix:PATH")
    return address


def _read(path: Path | None) -> bytes | None:
    if path is None:
        return None
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidArgument(f"the TLS file {path} cannot be read: {error.strerror}") from None
