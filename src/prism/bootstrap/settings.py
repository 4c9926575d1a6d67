"""What a server itself can be told; each driver adds its own.

Made as a driver's settings are, so that flags, environment variables and config
keys come about in one way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal

from prism.domain.watches import MAX_WATCHES
from prism.ports import DRAIN_TIMEOUT, STOP_TIMEOUT, InvalidArgument, setting

Transport = Literal["h2corn", "grpcio"]
TraceExporter = Literal["stdout", "otlp", "jaeger"]

REPLY_OVERHEAD_BYTES = 256 << 10
"""Of a message, kept for what is in it beside keys and values."""

_SMALLEST_MESSAGE_BYTES = 1 << 20


class InvalidSetting(InvalidArgument):
    """A value that has the right form and makes no sense.

    Attributes:
        name: of the setting.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Of every server; see each setting's help."""

    host: str = setting("127.0.0.1", help="Address to listen on.")
    grpc_port: int = setting(9090, help="gRPC port; 0 picks a free one.")
    grpc_socket: Path | None = setting(None, help="Serve gRPC on this Unix socket, not on a port.")
    metrics: bool = setting(
        True, help="Serve a page for people, /health, /ready and /metrics over HTTP."
    )
    metrics_port: int = setting(9091, help="HTTP port; 0 picks a free one.")
    transport: Transport = setting(
        "h2corn", help="What carries gRPC: h2corn is fast, grpcio the reference implementation."
    )
    tls_cert: Path | None = setting(None, help="PEM certificate chain; gRPC then speaks TLS.")
    tls_key: Path | None = setting(None, help="PEM private key of --tls-cert.")
    tls_client_ca: Path | None = setting(
        None, help="PEM certificates; clients must have one that these signed."
    )
    admin_token: str | None = setting(
        None,
        secret=True,
        help="Lifecycle calls must carry it; required for them when not on loopback.",
    )
    reflection: bool = setting(True, help="Describe the services to generic clients.")
    default_timeout: timedelta = setting(
        timedelta(seconds=30), help="Deadline of calls that come without one."
    )
    max_message_bytes: int = setting(4 << 20, help="Largest gRPC message.")
    max_in_flight: int = setting(1024, help="Operations at once, in all.")
    max_in_flight_per_connection: int = setting(512, help="Operations at once by one connection.")
    max_watches: int = setting(MAX_WATCHES, help="Watches at once, in all.")
    drain_delay: timedelta = setting(
        timedelta(), help="After a signal: time in which not ready is told and calls still served."
    )
    drain_timeout: timedelta = setting(
        DRAIN_TIMEOUT, help="Time for calls in flight to finish before they are aborted."
    )
    stop_timeout: timedelta = setting(STOP_TIMEOUT, help="Time for the driver to close.")
    slow_request: timedelta = setting(
        timedelta(seconds=1), help="Log requests that take so long or longer; 0: none."
    )
    debug: bool = setting(False, help="Log more.")
    enable_tracing: bool = setting(False, help="Trace requests, and export the traces.")
    trace_exporter: TraceExporter | None = setting(
        None, help="Where traces go (default: as OTEL_TRACES_EXPORTER says, else stdout)."
    )
    trace_ratio: float | None = setting(
        None,
        help="How many of the traces that begin here are sampled, 0 to 1 "
        "(default: as OTEL_TRACES_SAMPLER says, else all).",
    )
    log_format: Literal["json", "text"] = setting("json", help="Log for machines or for people.")

    def __post_init__(self) -> None:
        for name in ("grpc_port", "metrics_port"):
            self._within(name, 0, 65_535)
        for name in ("max_in_flight", "max_in_flight_per_connection", "max_watches"):
            self._within(name, 1, None)
        self._within("max_message_bytes", _SMALLEST_MESSAGE_BYTES, (1 << 31) - 1)
        if self.default_timeout <= timedelta():
            raise InvalidSetting("default_timeout", "default_timeout must be above zero")
        if self.slow_request < timedelta():
            raise InvalidSetting("slow_request", "slow_request is below zero; 0 means never")
        token = self.admin_token
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise InvalidSetting("admin_token", "admin_token must be printable ASCII, not empty")
        if self.trace_ratio is not None and not 0 <= self.trace_ratio <= 1:
            raise InvalidSetting(
                "trace_ratio", f"trace_ratio is {self.trace_ratio}; it must be 0 to 1"
            )
        if not self.host:
            raise InvalidSetting("host", "host is empty; 0.0.0.0 means every IPv4 address")
        for name in ("tls_cert", "tls_key"):
            if getattr(self, name) is None and (self.tls_cert or self.tls_key):
                raise InvalidSetting(name, f"{name} is missing: a certificate needs its key")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise InvalidSetting("tls_client_ca", "tls_client_ca needs tls_cert and tls_key")
        taken = self.grpc_port == self.metrics_port != 0
        if self.metrics and taken:
            raise InvalidSetting("metrics_port", "metrics_port is the same as grpc_port")

    def _within(self, name: str, low: int, high: int | None) -> None:
        value = getattr(self, name)
        if value < low or (high is not None and value > high):
            valid = f"{low} or more" if high is None else f"{low} to {high}"
            raise InvalidSetting(name, f"{name} is {value}; it must be {valid}")


@dataclass(frozen=True, slots=True)
class ServeSettings(ServerSettings):
    """Of a server with one driver."""

    driver: str = setting("memstore", help="Driver to serve; `prism drivers` lists them.")
    proxy_address: str | None = setting(
        None, help="Be a pattern of the proxy there (host:port or unix:PATH), and do as it says."
    )
    proxy_fd: int | None = setting(
        None,
        help="Descriptor with the token of --proxy-token as its first line; its end is our end.",
    )
    proxy_token: str | None = setting(
        None, secret=True, help="What the proxy lets its pattern in by, once."
    )

    def __post_init__(self) -> None:
        ServerSettings.__post_init__(self)
        if self.proxy_address is not None:
            self._check_proxy(self.proxy_address)
            return
        for name in ("proxy_fd", "proxy_token"):
            if getattr(self, name) is not None:
                raise InvalidSetting(name, f"{name} is given, and proxy_address is not")

    def _check_proxy(self, address: str) -> None:
        # Whoever talks to no proxy does without what this imports.
        from prism.adapters.client.errors import check_address

        try:
            check_address(address)
        except InvalidArgument as error:
            raise InvalidSetting("proxy_address", error.message) from None
        if self.proxy_fd is None and self.proxy_token is None:
            raise InvalidSetting(
                "proxy_address", "proxy_address needs proxy_token or proxy_fd, to be let in"
            )
        if self.proxy_fd is not None and self.proxy_token is not None:
            raise InvalidSetting("proxy_fd", "proxy_fd and proxy_token are both given; one will do")
        if self.proxy_fd is not None:
            _check_open(self.proxy_fd)
        token = self.proxy_token
        if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
            raise InvalidSetting("proxy_token", "proxy_token must be printable ASCII, not empty")


def _check_open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except (OSError, OverflowError):
        raise InvalidSetting(
            "proxy_fd", f"proxy_fd is {descriptor}, and nothing was handed over there"
        ) from None
