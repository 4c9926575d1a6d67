"""What can be set, and what is allowed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from prism.ports import InvalidArgument, setting

_LONGEST_PREFIX_BYTES = 1024
_LARGEST_VALUE_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Where the server is, who we are there, and how much to ask of it."""

    # A secret, since it may hold a password.
    url: str = setting(
        "redis://127.0.0.1:6379/0",
        help="redis://HOST:PORT/DB, redis+sentinel://H1,H2/SERVICE/DB or redis+cluster://H1,H2; "
        "rediss in the place of redis: TLS",
        secret=True,
    )
    username: str | None = setting(None, help="User to log in as; before the one in the URL")
    password: str | None = setting(None, help="Its password", secret=True)
    sentinel_username: str | None = setting(None, help="User to log in to the sentinels as")
    sentinel_password: str | None = setting(None, help="Its password", secret=True)
    key_prefix: str = setting("prism:", help="What every key begins with in Redis; may be empty")
    timeout: timedelta = setting(timedelta(seconds=5), help="Of each operation at the server")
    in_flight: int = setting(1024, help="Calls sent to one server and not answered at most")
    connections: int = setting(64, help="Connections to each node of a Cluster at most")
    max_value_bytes: int = setting(1 << 20, help="Bytes of one value at most")
    tls: bool = setting(False, help="Talk TLS, as rediss in the URL does")
    tls_ca: Path | None = setting(None, help="PEM file of the authority to trust")
    tls_cert: Path | None = setting(None, help="PEM file of our certificate")
    tls_key: Path | None = setting(None, help="PEM file of its key")

    def __post_init__(self) -> None:
        """Refuse what cannot work: the setting, its value, and what is allowed."""
        for name in ("in_flight", "connections"):
            if (number := getattr(self, name)) < 1:
                raise InvalidArgument(
                    f"redis setting {name}: {number} is not allowed, use 1 or more"
                )
        if not 1 <= self.max_value_bytes <= _LARGEST_VALUE_BYTES:
            raise InvalidArgument(
                f"redis setting max_value_bytes: {self.max_value_bytes:,} is not allowed, use 1 "
                f"to {_LARGEST_VALUE_BYTES:,}, which is as much as Redis takes"
            )
        if self.timeout <= timedelta():
            raise InvalidArgument(
                f"redis setting timeout: {self.timeout.total_seconds():g} s is not allowed, "
                "use more than zero"
            )
        try:
            size = len(self.key_prefix.encode())
        except UnicodeEncodeError:
            raise InvalidArgument("redis setting key_prefix: it is not text") from None
        if size > _LONGEST_PREFIX_BYTES:
            raise InvalidArgument(
                f"redis setting key_prefix: it has {size:,} bytes, use "
                f"{_LONGEST_PREFIX_BYTES:,} at most"
            )
