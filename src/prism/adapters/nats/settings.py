"""What can be set, and what is allowed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from prism.ports import InvalidArgument, setting

_BUCKET = re.compile(r"[-_A-Za-z0-9]{1,64}")
_REPLICAS = (1, 3, 5)
_SCHEMES = ("nats", "tls")


@dataclass(frozen=True, slots=True)
class NatsSettings:
    """Where the servers are, who we are there, and which bucket to keep keys in."""

    # A secret, since it may hold a password or a token.
    url: str = setting(
        "nats://127.0.0.1:4222",
        help="nats://HOST:PORT, or tls:// for TLS; several servers with commas between",
        secret=True,
    )
    bucket: str = setting("prism", help="Key-value bucket; made when there is none")
    replicas: int = setting(1, help="Servers that hold the bucket: 1, 3 or 5")
    storage: Literal["file", "memory"] = setting("file", help="Where a bucket is kept")
    credentials: Path | None = setting(None, help="Credentials file (.creds) to log in with")
    user: str | None = setting(None, help="User to log in as")
    password: str | None = setting(None, help="Its password", secret=True)
    token: str | None = setting(None, help="Token to log in with", secret=True)
    tls_ca: Path | None = setting(None, help="PEM file of the authority to trust")
    tls_cert: Path | None = setting(None, help="PEM file of our certificate")
    tls_key: Path | None = setting(None, help="PEM file of its key")
    timeout: timedelta = setting(timedelta(seconds=5), help="Of each operation at the server")
    connect_timeout: timedelta = setting(timedelta(seconds=5), help="To connect to one server")

    def __post_init__(self) -> None:
        """Refuse what cannot work: the setting, its value, and what is allowed."""
        if not _BUCKET.fullmatch(self.bucket):
            raise _refused("bucket", repr(self.bucket), "1 to 64 of letters, digits, - and _")
        if self.replicas not in _REPLICAS:
            raise _refused("replicas", str(self.replicas), "1, 3 or 5")
        for name, value in (("timeout", self.timeout), ("connect_timeout", self.connect_timeout)):
            if value <= timedelta():
                raise _refused(name, f"{value.total_seconds():g} s", "more than zero")
        if (self.tls_cert is None) != (self.tls_key is None):
            raise InvalidArgument("a TLS certificate needs its key, and a key its certificate")
        if (self.user is None) != (self.password is None):
            raise InvalidArgument("nats settings user and password are given together, or neither")
        for url in self.servers:
            if not _is_server(url):
                # The address itself is left out: it may hold a password.
                raise InvalidArgument(
                    "nats setting url: it is not allowed, use nats://HOST:PORT or tls://HOST:PORT"
                )

    @property
    def servers(self) -> tuple[str, ...]:
        """The URL of each server."""
        return tuple(each.strip() for each in self.url.split(","))

    @property
    def addresses(self) -> str:
        """The servers as people may see them: host and port."""
        parts = (urlsplit(url) for url in self.servers)
        return ", ".join(f"{part.hostname}:{part.port or 4222}" for part in parts)


def _is_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        # What follows the host may be the rest of a password with a slash in it.
        is_whole = parts.path in ("", "/") and not parts.query and not parts.fragment
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0 and is_whole
    except ValueError:
        return False


def _refused(name: str, value: str, allowed: str) -> InvalidArgument:
    return InvalidArgument(f"nats setting {name}: {value} is not allowed, use {allowed}")
