"""Settings of the driver, with their checks."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from prism.kit import setting_not_allowed
from prism.ports import InvalidArgument, setting

_BUCKET = re.compile(r"[-_A-Za-z0-9]{1,64}")
_REPLICAS = (1, 3, 5)
_SCHEMES = ("nats", "tls")


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """Servers, credentials, and the bucket that holds the keys."""

    # Secret, since a URL may contain a password or a token.
    url: str = setting(
        "nats://127.0.0.1:4222",
        help="nats://HOST:PORT, or tls:// for TLS; several servers separated by commas",
        secret=True,
    )
    bucket: str = setting("prism", help="Key-value bucket; created if it does not exist")
    replicas: int = setting(1, help="Servers that hold the bucket: 1, 3 or 5")
    storage: Literal["file", "memory"] = setting("file", help="Where the servers keep the bucket")
    credentials: Path | None = setting(None, help="Credentials file (.creds) to log in with")
    user: str | None = setting(None, help="User name")
    password: str | None = setting(None, help="Password of the user", secret=True)
    token: str | None = setting(None, help="Token to log in with", secret=True)
    tls_ca: Path | None = setting(None, help="PEM file of the certificate authority to trust")
    tls_cert: Path | None = setting(None, help="PEM file of the client certificate")
    tls_key: Path | None = setting(None, help="PEM file of the client certificate's key")
    tls_key_password: str | None = setting(
        None, help="Password of that key, if it is encrypted", secret=True
    )
    timeout: timedelta = setting(timedelta(seconds=5), help="Time limit of each operation")
    connect_timeout: timedelta = setting(
        timedelta(seconds=5), help="Time limit for connecting to each server"
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the setting, the value, and what is allowed."""
        if not _BUCKET.fullmatch(self.bucket):
            raise _not_allowed("bucket", repr(self.bucket), "1 to 64 of letters, digits, - and _")
        if self.replicas not in _REPLICAS:
            raise _not_allowed("replicas", str(self.replicas), "1, 3 or 5")
        for name, value in (("timeout", self.timeout), ("connect_timeout", self.connect_timeout)):
            if value <= timedelta():
                raise _not_allowed(name, f"{value.total_seconds():g} s", "more than zero")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidArgument(
                "nats settings tls_cert and tls_key are given together, or neither"
            )
        if (self.user is None) != (self.password is None):
            raise InvalidArgument("nats settings user and password are given together, or neither")
        for url in self.servers:
            if not _is_server(url):
                # Without the value, which may contain a password.
                raise InvalidArgument(
                    "nats setting url: the value is not allowed, "
                    "use nats://HOST:PORT or tls://HOST:PORT"
                )

    @property
    def servers(self) -> tuple[str, ...]:
        """URL of each server."""
        return tuple(each.strip() for each in self.url.split(","))

    @property
    def stream_name(self) -> str:
        return f"KV_{self.bucket}"

    @property
    def key_prefix(self) -> str:
        """Subject prefix of the encoded keys, as in every key-value bucket of NATS."""
        return f"$KV.{self.bucket}."

    @property
    def event_prefix(self) -> str:
        """Subject prefix under which the server republishes stored messages."""
        return f"$PRISM.KV.{self.bucket}."

    @property
    def addresses(self) -> str:
        """Host and port of each server, without credentials, for messages."""
        parts = (urlsplit(url) for url in self.servers)
        return ", ".join(f"{part.hostname}:{part.port or 4222}" for part in parts)


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # Text after the host may be the rest of a password that contains a slash.
        is_bare = parts.path in ("", "/") and not parts.query and not parts.fragment
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0 and is_bare
    except ValueError:
        return False


_not_allowed = partial(setting_not_allowed, "nats")
