"""Checks of settings that depend on one another: TLS and JSON Web Tokens."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from prism.ports import InvalidArgument

if TYPE_CHECKING:
    from prism.bootstrap.settings import ServerSettings

_JWT_ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
_LARGEST_SKEW = timedelta(minutes=10)


class InvalidSetting(InvalidArgument):
    """Value of the right type that is not valid.

    Attributes:
        name: name of the setting.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


def check_tls(settings: ServerSettings) -> None:
    """Raise InvalidSetting if a setting of TLS cannot be kept."""
    if settings.tls_crl is not None and settings.tls_client_ca is None:
        raise InvalidSetting("tls_crl", "tls_crl needs tls_client_ca: no certificate is asked")
    if settings.tls_crl is not None and settings.policy is None:
        # Callers are identified for a policy only.
        raise InvalidSetting(
            "tls_crl",
            "tls_crl needs policy: a rule for * with the role administrator lets every "
            "certificate do everything that is not revoked",
        )
    if settings.tls_min_version == "1.3" and settings.tls_cert is None:
        raise InvalidSetting("tls_min_version", "tls_min_version needs tls_cert and tls_key")
    if settings.tls_min_version == "1.3" and settings.transport == "h2corn":
        raise InvalidSetting(
            "tls_min_version",
            "tls_min_version is 1.3, for which the transport h2corn has no option: it takes TLS "
            "1.2 too; give transport grpcio, or put a proxy for TLS in front",
        )


def check_jwt(settings: ServerSettings) -> None:
    """Raise InvalidSetting if a setting of JSON Web Tokens is not valid."""
    others = ("jwt_audience", "jwt_keys", "jwt_keys_url")
    if settings.jwt_issuer is None:
        for name in others:
            if getattr(settings, name) is not None:
                raise InvalidSetting(name, f"{name} needs jwt_issuer")
        return
    if settings.policy is None:
        raise InvalidSetting("jwt_issuer", "jwt_issuer needs policy, which says what they allow")
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
                f"jwt_algorithms has {algorithm!r}; valid are {', '.join(_JWT_ALGORITHMS)}: "
                "of those, nobody who can check a token can make one",
            )
