"""Prism as it is run: a process in front of a real server of its own, and the command line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest

from tests.integration.cli.conftest import CommandLine
from tests.integration.conftest import Server
from tests.servers.nats import NatsServer
from tests.servers.redis import RedisServer

SERVERS: dict[str, Callable[[dict[str, Any] | None], RedisServer | NatsServer]] = {
    "redis": RedisServer,
    "nats": NatsServer,
}


class Deployment(NamedTuple):
    """A Prism process and what is behind it.

    Attributes:
        backend: the server that holds the keys.
        prism: the process, which serves.
        cli: `prism`, pointed at that process.
    """

    backend: RedisServer | NatsServer
    prism: Server
    cli: CommandLine


Deploy: TypeAlias = Callable[..., Deployment]


@pytest.fixture
def deploy(start_server: Callable[..., Server]) -> Iterator[Deploy]:
    """Start a backend, with settings of its own, and Prism in front of it."""
    # Prism is stopped in `start_server`, later than the servers here: it has to manage.
    with ExitStack() as stack:

        def start(driver: str, *flags: str, settings: dict[str, Any] | None = None) -> Deployment:
            backend = SERVERS[driver](settings)
            stack.enter_context(backend)
            url = (f"--{driver}-url", backend.url)
            prism = start_server("--driver", driver, *url, *flags).serving()
            return Deployment(backend, prism, CommandLine(prism.address))

        yield start


@pytest.fixture
def address_of(
    start_server: Callable[..., Server], deploy: Deploy, tmp_path: Path
) -> Callable[[str], str]:
    """Where a new Prism on a driver listens, also on one without a server behind it."""

    def start(driver: str) -> str:
        if driver in SERVERS:
            return deploy(driver).prism.address
        flags = ("--sqlite-path", str(tmp_path / "prism.db")) if driver == "sqlite" else ()
        return start_server("--driver", driver, *flags).serving().address

    return start


@pytest.fixture(params=SERVERS)
def deployment(request: Any, deploy: Deploy) -> Deployment:
    """One on each driver that has a server behind it."""
    return deploy(request.param)
