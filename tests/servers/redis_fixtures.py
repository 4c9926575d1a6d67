"""Redis as fixtures: servers of their own, or the ones that `PRISM_TEST_REDIS_URL` names.

That URL stands in for the topology that it is a URL of; the others are started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from prism.testing import BackendServer
from tests.servers.redis import RedisServer
from tests.servers.redis_topologies import RedisCluster, RedisSentinel

ENVIRONMENT = "PRISM_TEST_REDIS_URL"


class RedisBackend(NamedTuple):
    """What the suite is pointed at.

    Attributes:
        server: where there is one that a test may take away.
    """

    url: str
    server: BackendServer | None = None


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A server that tests share: they leave it up, and its settings as they are."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[RedisSentinel]:
    with RedisSentinel() as sentinel:
        yield sentinel


@pytest.fixture(scope="session")
def redis_backend(request: pytest.FixtureRequest) -> RedisBackend:
    if given := _given("redis", "rediss"):
        return RedisBackend(given)
    server = request.getfixturevalue("redis_server")
    return RedisBackend(server.url, server)


@pytest.fixture(scope="session")
def redis_cluster_backend(request: pytest.FixtureRequest) -> RedisBackend:
    given = _given("redis+cluster", "rediss+cluster")
    return RedisBackend(given or request.getfixturevalue("redis_cluster").url)


@pytest.fixture(scope="session")
def redis_sentinel_backend(request: pytest.FixtureRequest) -> RedisBackend:
    given = _given("redis+sentinel", "rediss+sentinel")
    return RedisBackend(given or request.getfixturevalue("redis_sentinel").url)


def _given(*schemes: str) -> str:
    """The URL in the environment, if it has one of these schemes."""
    url = os.environ.get(ENVIRONMENT, "")
    return url if url.partition("://")[0] in schemes else ""
