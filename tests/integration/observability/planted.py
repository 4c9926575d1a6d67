"""Recognisable secrets, keys and values, and servers that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tests.servers.nats import NatsServer
from tests.servers.redis import RedisServer

# Each starts and ends with a marker that no encoding changes; encodings change the middle.
PASSWORD = "pa1planted/p@ss:w%rd<&>'\"pa2planted"
TOKEN = "to1planted+to ken&to2planted"
WRONG_TOKEN = "wr1planted-token-wr2planted"
HEADER = "he1planted-header-he2planted"
MALFORMED = "ma1planted malformed ma2planted"
COMMANDED = "co1planted/commanded%co2planted"
VALUE = "va1planted value va2planted"
KEY = "ke1planted:key:ke2planted"

KEY_MARKERS = ("ke1planted", "ke2planted")
SECRET_MARKERS = tuple(
    f"{start}{end}planted" for start in ("pa", "to", "wr", "he", "ma", "co", "va") for end in "12"
)


@dataclass(frozen=True, kw_only=True)
class Planted:
    """Flags of a server that holds secrets, with its backend.

    Attributes:
        commanded: settings for an Initialize command, including `COMMANDED`.
        secrets: further secrets, such as lines of a private key.
        backend: server of the backend; None: embedded.
        certificate: TLS certificate of the server.
    """

    flags: tuple[str, ...]
    commanded: Mapping[str, str]
    secrets: tuple[str, ...] = ()
    backend: RedisServer | NatsServer | None = None
    certificate: Path | None = field(default=None)


@contextmanager
def memstore(files: tuple[Path, Path]) -> Iterator[Planted]:
    certificate, key = files
    body = key.read_text().splitlines()[1:-1]
    flags = ("--driver", "memstore", "--tls-cert", str(certificate), "--tls-key", str(key))
    yield Planted(flags=flags, commanded={}, secrets=tuple(body), certificate=certificate)


@contextmanager
def redis(_: Any) -> Iterator[Planted]:
    with RedisServer() as server:
        server.ask("ACL", "SETUSER", "prism", "on", f">{PASSWORD}", "~*", "&*", "+@all")
        server.ask("ACL", "SETUSER", "default", "off")
        url = f"redis://prism:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}/0"
        flags = ("--driver", "redis", "--redis-url", url, "--redis-timeout", "300ms")
        yield Planted(flags=flags, commanded={"password": COMMANDED}, backend=server)


@contextmanager
def nats_password(_: Any) -> Iterator[Planted]:
    with NatsServer({"authorization": {"user": "prism", "password": PASSWORD}}) as server:
        url = f"nats://prism:{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}"
        flags = ("--driver", "nats", "--nats-url", url, "--nats-timeout", "300ms")
        commanded = {"user": "prism", "password": COMMANDED}
        yield Planted(flags=flags, commanded=commanded, backend=server)


@contextmanager
def nats_token(_: Any) -> Iterator[Planted]:
    with NatsServer({"authorization": {"token": PASSWORD}}) as server:
        url = f"nats://{quote(PASSWORD, safe='')}@127.0.0.1:{server.port}"
        flags = ("--driver", "nats", "--nats-url", url, "--nats-timeout", "300ms")
        yield Planted(flags=flags, commanded={"token": COMMANDED}, backend=server)


DEPLOYMENTS: Mapping[str, Callable[[tuple[Path, Path]], Any]] = {
    "memstore": memstore,
    "redis": redis,
    "nats-password": nats_password,
    "nats-token": nats_token,
}
