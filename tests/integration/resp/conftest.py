"""Servers with a port for Redis clients, in front of each backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.integration.conftest import Server
from tests.servers.nats import NatsServer
from tests.servers.redis import RedisServer

ServeBackend = Callable[[str], Server]


@pytest.fixture(scope="session")
def serve_backend(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[ServeBackend]:
    """Function that serves a driver to Redis clients; each is started once."""
    started: dict[str, Server] = {}

    def serve(driver: str) -> Server:
        if driver in started:
            return started[driver]
        folder = tmp_path_factory.mktemp(driver)
        args = ["--grpc-port", "0", "--metrics-port", "0", "--driver", driver]
        args += ["--resp-port", "0", "--resp-allow-flush"]
        if driver == "sqlite":
            args += ["--sqlite-path", str(folder / "prism.db"), "--sqlite-synchronous", "off"]
        elif driver == "redis":
            redis: RedisServer = request.getfixturevalue("redis_server")
            args += ["--redis-url", redis.url, "--redis-key-prefix", "resp:"]
        elif driver == "nats":
            nats: NatsServer = request.getfixturevalue("nats_server")
            args += ["--nats-url", nats.url, "--nats-bucket", "resp"]
        server = started[driver] = Server(tuple(args), {}, folder)
        return server.serving()

    try:
        yield serve
        for server in started.values():
            server.stop()
    finally:
        for server in started.values():
            server.close()


@pytest.fixture
def redis_port(serve_backend: ServeBackend) -> int:
    """Port for Redis clients in front of the embedded store, which is empty."""
    import redis

    port = port_of(serve_backend("memstore"))
    with redis.Redis(port=port) as client:
        client.flushdb()
    return port


def port_of(server: Server) -> int:
    """Return the port for Redis clients of a server."""
    return int(server.redis_address.rpartition(":")[2])
