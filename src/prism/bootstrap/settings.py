"""Settings of a server; its driver adds settings of its own.

They are declared like those of a driver, so that flags, environment variables and config keys
are derived in one way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from prism.bootstrap.setting_checks import InvalidSetting, check_proxy, check_server
from prism.domain.watches import MAX_WATCHES
from prism.ports import DRAIN_TIMEOUT, STOP_TIMEOUT, Limits, setting

if TYPE_CHECKING:
    from prism.adapters.grpc.transports.options import ServerOptions

Transport = Literal["h2corn", "grpcio"]
TlsVersion = Literal["1.2", "1.3"]
RespTransactions = Literal["strict", "loose"]
PatternBy = Literal["database", "user"]
TraceExporter = Literal["stdout", "otlp", "jaeger"]

# Part of a message that is reserved for what frames keys and values.
_FRAMING_BYTES = 256 << 10

Groups = Mapping[str, Sequence[str]]
"""Names of settings by the heading that they have in a command's help."""

LIMITS = "Limits"
OBSERVABILITY = "Observability"
REDIS = "Redis protocol"
PATTERN = "Pattern of a proxy"
"""Heading of the settings by which a proxy launches a pattern; help does not show them."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of every server; each has its help.

    Attributes:
        GROUPS: the settings by heading, in the order in which help shows them.
    """

    GROUPS: ClassVar[Groups] = {
        "Listening": ("host", "grpc_port", "grpc_socket", "transport", "reflection"),
        "TLS and access": (
            "tls_cert",
            "tls_key",
            "tls_key_password",
            "tls_client_ca",
            "tls_crl",
            "tls_min_version",
            "insecure",
            "admin_token",
            "policy",
            "tokens",
            "jwt_issuer",
            "jwt_audience",
            "jwt_keys",
            "jwt_keys_url",
            "jwt_algorithms",
            "jwt_clock_skew",
            "jwt_name_claim",
            "jwt_groups_claim",
            "audit_log",
            "audit_keys",
            "audit_operations",
        ),
        LIMITS: (
            "default_timeout",
            "max_message_bytes",
            "max_in_flight",
            "max_in_flight_per_connection",
            "max_watches",
            "max_connections",
            "connection_idle_timeout",
            "unread_reply_timeout",
        ),
        "Shutdown": ("drain_delay", "drain_timeout", "stop_timeout"),
        OBSERVABILITY: (
            "metrics",
            "metrics_host",
            "metrics_port",
            "log_format",
            "debug",
            "slow_request",
            "enable_tracing",
            "trace_exporter",
            "trace_ratio",
        ),
        REDIS: (
            "resp_port",
            "resp_host",
            "resp_socket",
            "resp_allow_flush",
            "resp_transactions",
        ),
    }

    host: str = setting("127.0.0.1", help="Address to listen on.")
    grpc_port: int = setting(9090, help="gRPC port; 0 picks a free one.")
    grpc_socket: Path | None = setting(
        None, help="Serve gRPC on this Unix socket instead of a port."
    )
    metrics: bool = setting(
        True, help="Serve the status page, /health, /ready and /metrics over HTTP."
    )
    metrics_host: str | None = setting(
        None, help="Address of the HTTP port (default: that of --host)."
    )
    metrics_port: int = setting(9091, help="HTTP port; 0 picks a free one.")
    transport: Transport = setting(
        "h2corn", help="gRPC transport: h2corn is fast, grpcio is the reference implementation."
    )
    tls_cert: Path | None = setting(None, help="PEM certificate chain; enables TLS for gRPC.")
    tls_key: Path | None = setting(None, help="PEM private key of --tls-cert.")
    tls_key_password: str | None = setting(
        None, secret=True, help="Password of --tls-key, if that is encrypted."
    )
    tls_client_ca: Path | None = setting(
        None,
        help="PEM certificates of the authorities that sign clients' certificates; clients must "
        "present one.",
    )
    tls_crl: Path | None = setting(
        None,
        help="List of the certificates that the authorities of --tls-client-ca have revoked, in "
        "PEM; needs --policy.",
    )
    tls_min_version: TlsVersion = setting(
        "1.2", help="Minimum version of TLS; 1.3 needs --transport grpcio."
    )
    insecure: bool = setting(
        False, help="Allow listening beyond this machine without TLS, for a network that you trust."
    )
    admin_token: str | None = setting(
        None,
        secret=True,
        help="Token that lifecycle calls must carry; required unless the server is on loopback.",
    )
    policy: Path | None = setting(
        None, help="Policy file: who may do what. Without a policy every caller may do everything."
    )
    tokens: Path | None = setting(
        None, help="File with the hashes of the callers' tokens; needs --policy."
    )
    jwt_issuer: str | None = setting(
        None,
        help="URL of the issuer whose JSON Web Tokens are accepted; its keys are found there, "
        "unless --jwt-keys or --jwt-keys-url is given.",
    )
    jwt_audience: str | None = setting(None, help="Audience that a JWT must be made for.")
    jwt_keys: Path | None = setting(
        None, help="File with the public keys of the issuer, as a JSON Web Key Set."
    )
    jwt_keys_url: str | None = setting(
        None, help="URL of the public keys of the issuer, as a JSON Web Key Set."
    )
    jwt_algorithms: str = setting(
        "RS256,PS256,ES256,EdDSA",
        help="Algorithms that may have signed a JWT, with commas between them.",
    )
    jwt_clock_skew: timedelta = setting(
        timedelta(seconds=30),
        help="How far the clock of the issuer may differ from the clock here.",
    )
    jwt_name_claim: str = setting("sub", help="Claim of a JWT with the name of its caller.")
    jwt_groups_claim: str = setting(
        "groups", help="Claim of a JWT with the names of its caller's groups."
    )
    # Text and not a path: the files of settings are read again when they change.
    audit_log: str | None = setting(
        None, help="Write refusals and commands to this file, as JSON lines; -: stdout."
    )
    audit_keys: bool = setting(False, help="Write keys to the audit log too.")
    audit_operations: bool = setting(
        False, help="Write every operation on keys to the audit log, allowed ones too."
    )
    reflection: bool = setting(True, help="Serve gRPC reflection, for generic clients.")
    resp_port: int | None = setting(
        None,
        help="Serve Redis clients on this port, by convention 6379; 0 picks a free one "
        "(default: not served).",
    )
    resp_host: str | None = setting(
        None, help="Address of the Redis port (default: that of --host)."
    )
    resp_socket: Path | None = setting(
        None, help="Serve Redis clients on this Unix socket instead of a port."
    )
    resp_allow_flush: bool = setting(
        False, help="Allow FLUSHDB and FLUSHALL, which delete all keys."
    )
    resp_transactions: RespTransactions = setting(
        "strict",
        help="MULTI of Redis clients where the driver has no transactions: strict refuses it, "
        "loose runs its commands one after another.",
    )
    default_timeout: timedelta = setting(
        timedelta(seconds=30), help="Deadline of calls without one."
    )
    max_message_bytes: int = setting(4 << 20, help="Maximum size of a gRPC message.")
    max_in_flight: int = setting(1024, help="Maximum number of operations in flight.")
    max_in_flight_per_connection: int = setting(
        512, help="Maximum number of operations in flight on one connection."
    )
    max_watches: int = setting(MAX_WATCHES, help="Maximum number of open watches.")
    max_connections: int | None = setting(
        None,
        help="Maximum number of gRPC connections (default: half of the free file descriptors).",
    )
    connection_idle_timeout: timedelta = setting(
        timedelta(seconds=60), help="Close a connection after this time without a call."
    )
    unread_reply_timeout: timedelta = setting(
        timedelta(seconds=20), help="Maximum time that a caller takes to read a reply."
    )
    drain_delay: timedelta = setting(
        timedelta(),
        help="How long to keep serving after reporting not-ready, when a signal arrives.",
    )
    drain_timeout: timedelta = setting(
        DRAIN_TIMEOUT, help="Time for calls in flight to finish before they are aborted."
    )
    stop_timeout: timedelta = setting(STOP_TIMEOUT, help="Time for the driver to close.")
    slow_request: timedelta = setting(
        timedelta(seconds=1), help="Log requests that take this time or longer; 0: none."
    )
    debug: bool = setting(False, help="Log debug messages too.")
    enable_tracing: bool = setting(False, help="Trace requests and export the traces.")
    trace_exporter: TraceExporter | None = setting(
        None, help="Exporter of traces (default: OTEL_TRACES_EXPORTER, else stdout)."
    )
    trace_ratio: float | None = setting(
        None,
        help="Ratio of sampled traces among those that start here, 0 to 1 "
        "(default: OTEL_TRACES_SAMPLER, else all).",
    )
    log_format: Literal["json", "text"] | None = setting(
        None,
        help="Format of log lines: for programs or for people (default: text if stderr is a "
        "terminal, else json).",
    )

    def __post_init__(self) -> None:
        check_server(self)

    @property
    def server_options(self) -> ServerOptions:
        """Options of the gRPC server."""
        from prism.adapters.grpc.transports.options import ServerOptions
        from prism.adapters.grpc.transports.tls import ServerTls

        tls = None
        if self.tls_cert is not None and self.tls_key is not None:
            tls = ServerTls(
                self.tls_cert,
                self.tls_key,
                self.tls_client_ca,
                self.tls_key_password,
                self.tls_min_version,
            )
        return ServerOptions(
            host=self.host,
            port=self.grpc_port,
            socket=self.grpc_socket,
            tls=tls,
            max_message_bytes=self.max_message_bytes,
            default_timeout=self.default_timeout,
            reflection=self.reflection,
            admin_token=self.admin_token,
            max_connections=self.max_connections,
            idle_timeout=self.connection_idle_timeout,
            stall_timeout=self.unread_reply_timeout,
        )

    @property
    def limits(self) -> Limits:
        """Limits of values and batches, which leave room in a message for what frames them."""
        room = self.max_message_bytes - _FRAMING_BYTES
        return Limits(max_value_bytes=room, max_batch_bytes=room)

    @property
    def serves_resp(self) -> bool:
        """Whether Redis clients are served."""
        return self.resp_port is not None or self.resp_socket is not None

    @property
    def jwt_algorithms_allowed(self) -> tuple[str, ...]:
        """Algorithms that may have signed a JWT."""
        return tuple(name.strip() for name in self.jwt_algorithms.split(","))


@dataclass(frozen=True, slots=True)
class ServeSettings(ServerSettings):
    """Settings of a server with one driver."""

    GROUPS: ClassVar[Groups] = {
        "": ("driver",),
        **ServerSettings.GROUPS,
        "Start": ("start_timeout",),
        PATTERN: ("proxy_address", "proxy_fd", "proxy_token"),
    }

    driver: str = setting(
        "memstore", help="Driver to serve; `prism drivers` lists the installed ones."
    )
    start_timeout: timedelta = setting(
        timedelta(seconds=30),
        help="How long to wait at the start for a backend that does not answer; 0: not at all.",
    )
    proxy_address: str | None = setting(
        None, help="Address of the proxy that commands this server (host:port or unix:PATH)."
    )
    proxy_fd: int | None = setting(
        None,
        help="File descriptor of a pipe from the proxy: carries the token, and signals the proxy's "
        "exit.",
    )
    proxy_token: str | None = setting(
        None, secret=True, help="Token with which the pattern registers, once."
    )

    def __post_init__(self) -> None:
        ServerSettings.__post_init__(self)
        if not self.driver:
            raise InvalidSetting("driver", "driver is empty; `prism drivers` lists the drivers")
        if self.start_timeout < timedelta():
            raise InvalidSetting("start_timeout", "start_timeout is below zero")
        if self.proxy_address is not None:
            check_proxy(self, self.proxy_address)
            return
        for name in ("proxy_fd", "proxy_token"):
            if getattr(self, name) is not None:
                raise InvalidSetting(name, f"{name} needs proxy_address")
