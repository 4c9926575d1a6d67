"""What a URL says: which servers, how they are arranged, and who we are there."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import unquote

from prism.ports import InvalidArgument

_PORT = 6379
_SENTINEL_PORT = 26379

_FORMS = (
    "redis://HOST:PORT/DB, redis+sentinel://HOST:PORT,HOST:PORT/SERVICE/DB or "
    "redis+cluster://HOST:PORT,HOST:PORT, with rediss in the place of redis for TLS"
)


class Topology(Enum):
    """How the servers are arranged."""

    SINGLE = auto()
    SENTINEL = auto()
    CLUSTER = auto()


@dataclass(frozen=True, slots=True)
class Address:
    """As text it names the hosts, and never the credentials.

    Attributes:
        hosts: of the server, of the sentinels, or of some nodes of the cluster.
        service: as the sentinels call it.
    """

    topology: Topology
    hosts: tuple[tuple[str, int], ...]
    tls: bool
    service: str = ""
    db: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)

    def __str__(self) -> str:
        hosts = ", ".join(name_of(*host) for host in self.hosts)
        if self.topology is Topology.SENTINEL:
            return f"{self.service!r} of the sentinels {hosts}"
        return f"the cluster of {hosts}" if self.topology is Topology.CLUSTER else hosts


def name_of(host: str, port: int) -> str:
    """`host:port`, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


_SCHEMES = {
    "redis": (Topology.SINGLE, False),
    "rediss": (Topology.SINGLE, True),
    "redis+sentinel": (Topology.SENTINEL, False),
    "rediss+sentinel": (Topology.SENTINEL, True),
    "redis+cluster": (Topology.CLUSTER, False),
    "rediss+cluster": (Topology.CLUSTER, True),
}


def parse(url: str) -> Address:
    """The address in a URL.

    Raises:
        InvalidArgument: it is none; what the message shows of it is no secret.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.lower() not in _SCHEMES:
        shown = f"the scheme {scheme!r}" if separator else "no scheme"
        raise InvalidArgument(f"the Redis URL has {shown}; it must be {_FORMS}")
    if "?" in rest or "#" in rest:
        raise InvalidArgument("the Redis URL has a query; use the settings of the driver instead")
    topology, tls = _SCHEMES[scheme.lower()]
    credentials, _, located = rest.rpartition("@")
    if "/" in credentials:
        raise InvalidArgument("the Redis URL has a / before an @: percent-encode it, as %2F or %40")
    listed, _, path = located.partition("/")
    username, _, password = credentials.partition(":")
    default_port = _SENTINEL_PORT if topology is Topology.SENTINEL else _PORT
    hosts = tuple(_host(text.strip(), default_port) for text in listed.split(","))
    if topology is Topology.SINGLE and len(hosts) > 1:
        raise InvalidArgument(f"the Redis URL names {len(hosts)} hosts; it must be {_FORMS}")
    service, db = _path(topology, path)
    return Address(
        topology,
        hosts,
        tls,
        service,
        db,
        unquote(username) or None,
        unquote(password) or None,
    )


def _host(text: str, default_port: int) -> tuple[str, int]:
    host, separator, port = text.rpartition(":")
    if not separator or text.endswith("]"):
        host, port = text, str(default_port)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 1 << 16:
        # It is not shown: without an @ it may be a password.
        raise InvalidArgument(
            f"the Redis URL has a host without a name, or a port that is none; it must be {_FORMS}"
        )
    return host, int(port)


def _path(topology: Topology, path: str) -> tuple[str, int]:
    """The service and the number of the database."""
    service = ""
    if topology is Topology.SENTINEL:
        service, _, path = path.partition("/")
        if not service:
            raise InvalidArgument(f"the Redis URL names no service; it must be {_FORMS}")
    if path and not (path.isascii() and path.isdigit()):
        raise InvalidArgument("the Redis URL has a database that is no number")
    db = int(path or 0)
    if db and topology is Topology.CLUSTER:
        raise InvalidArgument(f"the Redis URL has the database {db}; a cluster has 0 only")
    return unquote(service), db
