"""Checks of the settings of a server: each by itself, and those that depend on one another."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from prism.domain.addresses import is_loopback
from prism.kit import is_host
from prism.ports import InvalidArgument

if TYPE_CHECKING:
    from prism.bootstrap.settings import ServerSettings, ServeSettings

_JWT_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
_LARGEST_SKEW = timedelta(minutes=10)
_SMALLEST_MESSAGE_BYTES = 1 << 20


class InvalidSetting(InvalidArgument):
    """Value of the right type that is not valid.

    Attributes:
        name: name of the setting.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def check_server(settings: ServerSettings) -> None:
    """Raise InvalidSetting if a setting of any server is not valid."""
    for name in ("grpc_port", "metrics_port"):
        _within(settings, name, 0, 65_535)
    for name in ("max_in_flight", "max_in_flight_per_connection", "max_watches"):
        _within(settings, name, 1, None)
    if settings.max_connections is not None:
        _within(settings, "max_connections", 1, None)
    for name in ("connection_idle_timeout", "unread_reply_timeout"):
        if getattr(settings, name) <= timedelta():
            raise InvalidSetting(name, f"{name} must be above zero")
    _within(settings, "max_message_bytes", _SMALLEST_MESSAGE_BYTES, (1 << 31) - 1)
    if settings.default_timeout <= timedelta():
        raise InvalidSetting("default_timeout", "default_timeout must be above zero")
    if settings.slow_request < timedelta():
        raise InvalidSetting("slow_request", "slow_request is below zero; 0 turns it off")
    _check_token("admin_token", settings.admin_token)
    if settings.tokens is not None and settings.policy is None:
        raise InvalidSetting("tokens", "tokens needs policy, which says what tokens allow")
    if settings.audit_log == "":
        raise InvalidSetting("audit_log", "audit_log is empty; leave it out for none")
    for name in ("audit_keys", "audit_operations"):
        if getattr(settings, name) and settings.audit_log is None:
            raise InvalidSetting(name, f"{name} needs audit_log")
    if settings.admin_token is not None and settings.policy is not None:
        raise InvalidSetting(
            "admin_token",
            "admin_token and policy exclude each other: a rule with admin says who administers",
        )
    if settings.trace_ratio is not None and not 0 <= settings.trace_ratio <= 1:
        raise InvalidSetting(
            "trace_ratio", f"trace_ratio is {settings.trace_ratio}; it must be 0 to 1"
        )
    _check_host(settings, "host")
    _check_host(settings, "metrics_host")
    for name in ("tls_cert", "tls_key"):
        if getattr(settings, name) is None and (settings.tls_cert or settings.tls_key):
            raise InvalidSetting(name, f"{name} is missing: a certificate needs its key")
    for name in ("tls_client_ca", "tls_key_password"):
        if getattr(settings, name) is not None and settings.tls_cert is None:
            raise InvalidSetting(name, f"{name} needs tls_cert and tls_key")
    _check_tls(settings)
    _check_jwt(settings)
    if settings.grpc_socket is None:
        _check_secure(settings, "host", settings.host)
    taken = settings.grpc_port == settings.metrics_port != 0
    if settings.metrics and taken:
        raise InvalidSetting("metrics_port", "metrics_port is the same as grpc_port")
    _check_resp(settings)


def check_proxy(settings: ServeSettings, address: str) -> None:
    """Raise InvalidSetting if a setting by which a proxy launches a pattern is not valid."""
    # Only a pattern pays for this import.
    from prism.adapters.client.endpoint import Endpoint

    try:
        Endpoint.of(address)
    except InvalidArgument as error:
        raise InvalidSetting("proxy_address", error.message) from None
    if settings.proxy_fd is None and settings.proxy_token is None:
        raise InvalidSetting("proxy_address", "proxy_address needs proxy_token or proxy_fd")
    if settings.proxy_fd is not None and settings.proxy_token is not None:
        raise InvalidSetting("proxy_fd", "proxy_fd and proxy_token exclude each other")
    if settings.proxy_fd is not None:
        _check_open(settings.proxy_fd)
    _check_token("proxy_token", settings.proxy_token)


def _check_open(descriptor: int) -> None:
    try:
        os.fstat(descriptor)
    except (OSError, OverflowError):
        raise InvalidSetting(
            "proxy_fd", f"proxy_fd is {descriptor}, which is not an open file descriptor"
        ) from None


def _check_tls(settings: ServerSettings) -> None:
    """Raise InvalidSetting if a setting of TLS cannot be kept."""
    if settings.tls_crl is not None and settings.tls_client_ca is None:
        raise InvalidSetting(
            "tls_crl", "tls_crl needs tls_client_ca: without it, clients show no certificate"
        )
    if settings.tls_crl is not None and settings.policy is None:
        # Callers are identified for a policy only.
        raise InvalidSetting(
            "tls_crl",
            "tls_crl needs policy: to allow everything to every certificate that is not revoked, "
            "give a policy with a rule for * and the role administrator",
        )
    if settings.tls_min_version == "1.3" and settings.tls_cert is None:
        raise InvalidSetting("tls_min_version", "tls_min_version needs tls_cert and tls_key")
    if settings.tls_min_version == "1.3" and settings.transport == "h2corn":
        raise InvalidSetting(
            "tls_min_version",
            "tls_min_version is 1.3, for which the transport h2corn has no option: it takes TLS "
            "1.2 too; give transport grpcio, or put a proxy for TLS in front",
        )


def _check_jwt(settings: ServerSettings) -> None:
    """Raise InvalidSetting if a setting of JSON Web Tokens is not valid."""
    others = ("jwt_audience", "jwt_keys", "jwt_keys_url")
    if settings.jwt_issuer is None:
        for name in others:
            if getattr(settings, name) is not None:
                raise InvalidSetting(name, f"{name} needs jwt_issuer")
        return
    if settings.policy is None:
        raise InvalidSetting("jwt_issuer", "jwt_issuer needs policy, which says what tokens allow")
    if not settings.jwt_audience:
        raise InvalidSetting(
            "jwt_audience",
            "jwt_audience is missing: without it, a token for another service would be valid",
        )
    if settings.jwt_keys is not None and settings.jwt_keys_url is not None:
        raise InvalidSetting("jwt_keys_url", "jwt_keys and jwt_keys_url exclude each other")
    if not timedelta() <= settings.jwt_clock_skew <= _LARGEST_SKEW:
        raise InvalidSetting(
            "jwt_clock_skew",
            f"jwt_clock_skew must be 0 to {_LARGEST_SKEW.total_seconds():g} s",
        )
    for name in ("jwt_name_claim", "jwt_groups_claim"):
        if not getattr(settings, name):
            raise InvalidSetting(name, f"{name} is empty")
    for algorithm in settings.jwt_algorithms_allowed:
        if algorithm not in _JWT_ALGORITHMS:
            raise InvalidSetting(
                "jwt_algorithms",
                f"jwt_algorithms has {algorithm!r}; the valid ones are "
                f"{', '.join(_JWT_ALGORITHMS)}: the key that checks tokens must not be able to "
                "make them",
            )


def _check_resp(settings: ServerSettings) -> None:
    if settings.resp_port is not None:
        _within(settings, "resp_port", 0, 65_535)
        taken = {"grpc_port": settings.grpc_port} if settings.grpc_socket is None else {}
        if settings.metrics:
            taken["metrics_port"] = settings.metrics_port
        for name, port in taken.items():
            if port == settings.resp_port != 0:
                raise InvalidSetting("resp_port", f"resp_port is the same as {name}")
    _check_host(settings, "resp_host")
    if settings.serves_resp and settings.resp_socket is None:
        named = "host" if settings.resp_host is None else "resp_host"
        _check_secure(settings, named, settings.resp_host or settings.host)
    for name, given in (
        ("resp_host", settings.resp_host),
        ("resp_allow_flush", settings.resp_allow_flush),
    ):
        if given and not settings.serves_resp:
            raise InvalidSetting(name, f"{name} needs resp_port or resp_socket")


def _check_host(settings: ServerSettings, name: str) -> None:
    host = getattr(settings, name)
    if host is not None and not is_host(host):
        raise InvalidSetting(
            name,
            f"{name} is {host!r}; it must be the name or address of a host, such as 0.0.0.0 "
            "for every IPv4 address, without scheme and port",
        )


def _check_secure(settings: ServerSettings, name: str, host: str) -> None:
    """Raise InvalidSetting if others on the network could read what is sent to a host."""
    if settings.tls_cert is None and not settings.insecure and not is_loopback(host):
        raise InvalidSetting(
            name,
            f"{name} is {host}, which other machines can reach, and without TLS they can read "
            "keys, values and tokens: give tls_cert and tls_key, or insecure if the network is "
            "trusted",
        )


def _within(settings: ServerSettings, name: str, low: int, high: int | None) -> None:
    value = getattr(settings, name)
    if value < low or (high is not None and value > high):
        valid = f"{low} or more" if high is None else f"{low} to {high}"
        raise InvalidSetting(name, f"{name} is {value}; it must be {valid}")


def _check_token(name: str, token: str | None) -> None:
    """Raise InvalidSetting for a token that no call could carry."""
    if token is not None and not (token.isascii() and token.isprintable() and token.strip()):
        raise InvalidSetting(name, f"{name} must be one line of printable ASCII, not empty")
