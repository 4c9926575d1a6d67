"""Settings of the Redis driver, and the address in its URL."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from pathlib import Path
from urllib.parse import unquote

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from prism.kit import setting_not_allowed
from prism.ports import InvalidArgument, setting

_MAX_KEY_PREFIX_BYTES = 1024
_MAX_REDIS_VALUE_BYTES = 512 << 20
_REDIS_PORT = 6379
_SENTINEL_PORT = 26379

_URL_FORMS = (
    "redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB or "
    "redis+cluster://HOST:PORT,HOST:PORT, with rediss instead of redis for TLS"
)


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """Address, credentials and limits of the Redis driver."""

    # Secret, because it may contain a password.
    url: str = setting(
        "redis://127.0.0.1:6379/0",
        help="redis://HOST:PORT/DB, redis+sentinel://H1,H2/SERVICE/DB or redis+cluster://H1,H2; "
        "rediss instead of redis for TLS",
        secret=True,
    )
    username: str | None = setting(None, help="User name; overrides the one in the URL")
    password: str | None = setting(None, help="Password; overrides the one in the URL", secret=True)
    sentinel_username: str | None = setting(None, help="User name for the sentinels")
    sentinel_password: str | None = setting(None, help="Password for the sentinels", secret=True)
    key_prefix: str = setting("prism:", help="Prefix of every key in Redis; may be empty")
    timeout: timedelta = setting(timedelta(seconds=5), help="Timeout of each operation")
    in_flight: int = setting(1024, help="Maximum unanswered calls on one connection to a server")
    connections: int = setting(64, help="Maximum connections to each node of a Cluster")
    max_value_bytes: int = setting(1 << 20, help="Maximum size of a value in bytes")
    tls: bool = setting(False, help="Use TLS, as rediss in the URL does")
    tls_ca: Path | None = setting(None, help="PEM file of the certificate authority to trust")
    tls_cert: Path | None = setting(None, help="PEM file of the client certificate")
    tls_key: Path | None = setting(None, help="PEM file of the client certificate's key")
    tls_key_password: str | None = setting(
        None, help="Password of that key, if it is encrypted", secret=True
    )

    def __post_init__(self) -> None:
        """Raise InvalidArgument with the setting, its value and the allowed values."""
        for name in ("in_flight", "connections"):
            if (number := getattr(self, name)) < 1:
                raise _not_allowed(name, number, "1 or more")
        if not 1 <= self.max_value_bytes <= _MAX_REDIS_VALUE_BYTES:
            allowed = f"1 to {_MAX_REDIS_VALUE_BYTES:,}, the maximum of Redis"
            raise _not_allowed("max_value_bytes", f"{self.max_value_bytes:,}", allowed)
        if self.timeout <= timedelta():
            seconds = f"{self.timeout.total_seconds():g} s"
            raise _not_allowed("timeout", seconds, "more than zero")
        try:
            size = len(self.key_prefix.encode())
        except UnicodeEncodeError:
            raise InvalidArgument("redis setting key_prefix: it is not valid Unicode") from None
        if size > _MAX_KEY_PREFIX_BYTES:
            allowed = f"at most {_MAX_KEY_PREFIX_BYTES:,} bytes"
            raise _not_allowed("key_prefix", f"a length of {size:,} bytes", allowed)
        parse_url(self.url)


_not_allowed = partial(setting_not_allowed, "redis")


class Topology(Enum):
    """Arrangement of the servers."""

    SINGLE = auto()
    SENTINEL = auto()
    CLUSTER = auto()


@dataclass(frozen=True, slots=True)
class Address:
    """Content of a URL. As text it names the hosts, and never the credentials.

    Attributes:
        hosts: host and port of the server, of the sentinels, or of some cluster nodes.
        service: name of the master at the sentinels; empty without sentinels.
    """

    topology: Topology
    hosts: tuple[tuple[str, int], ...]
    tls: bool
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        hosts = ", ".join(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in self.hosts
        )
        if self.topology is Topology.SENTINEL:
            return f"service {self.service!r} of the sentinels {hosts}"
        return f"cluster {hosts}" if self.topology is Topology.CLUSTER else hosts


_SCHEMES = {
    "redis": (Topology.SINGLE, False),
    "rediss": (Topology.SINGLE, True),
    "redis+sentinel": (Topology.SENTINEL, False),
    "rediss+sentinel": (Topology.SENTINEL, True),
    "redis+cluster": (Topology.CLUSTER, False),
    "rediss+cluster": (Topology.CLUSTER, True),
}


def parse_url(url: str) -> Address:
    """Return the address in a URL.

    Raises:
        InvalidArgument: the URL is not valid; the message contains no credentials.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        found = f"the scheme {scheme!r}" if separator else "no scheme"
        raise InvalidArgument(f"the Redis URL has {found}; use {_URL_FORMS}")
    if "?" in rest or "#" in rest:
        raise InvalidArgument("the Redis URL has a query; use the settings of the driver instead")
    topology, tls = _SCHEMES[scheme.lower()]
    credentials, _, location = rest.rpartition("@")
    if "/" in credentials:
        raise InvalidArgument("the Redis URL has a / before an @; percent-encode it, as %2F or %40")
    host_list, _, path = location.partition("/")
    username, _, password = credentials.partition(":")
    default_port = _SENTINEL_PORT if topology is Topology.SENTINEL else _REDIS_PORT
    hosts = tuple(_parse_host(text.strip(), default_port) for text in host_list.split(","))
    if topology is Topology.SINGLE and len(hosts) > 1:
        raise InvalidArgument(f"the Redis URL has {len(hosts)} hosts; use {_URL_FORMS}")
    service, db = _parse_path(topology, path)
    return Address(
        topology,
        hosts,
        tls,
        service,
        db,
        unquote(username) or None,
        unquote(password) or None,
    )


def _parse_host(text: str, default_port: int) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(default_port)
    if text.startswith("[") and not host.endswith("]"):
        host = ""
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 1 << 16:
        # The message leaves out the text: in a URL without an @ it may be a password.
        raise InvalidArgument(f"the Redis URL has an invalid host or port; use {_URL_FORMS}")
    return host, int(port)


def _parse_path(topology: Topology, path: str) -> tuple[str, int]:
    """Return the name of the service and the number of the database."""
    service = ""
    if topology is Topology.SENTINEL:
        service, _, path = path.partition("/")
        if not service:
            raise InvalidArgument(f"the Redis URL has no service name; use {_URL_FORMS}")
    if path and not (path.isascii() and path.isdigit()):
        raise InvalidArgument("the Redis URL has a database that is not a number")
    db = int(path or 0)
    if db and topology is Topology.CLUSTER:
        raise InvalidArgument(f"the Redis URL has database {db}; a Cluster has database 0 only")
    return unquote(service), db


def no_retries() -> Retry:
    """Return a policy without retries; redis-py's default repeats writes up to ten times."""
    return Retry(NoBackoff(), 0)


def uses_tls(settings: RedisSettings, address: Address) -> bool:
    """Return whether the settings or the URL ask for TLS."""
    return settings.tls or address.tls
