"""Fixtures for Redis: servers that the tests start, or the one at `PRISM_TEST_REDIS_URL`.

The scheme of that URL says which topology it replaces; servers of the others are started.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from prism.testing import BackendServer
from tests.servers.redis import RedisServer
from tests.servers.redis_topologies import RedisCluster, SentinelWithoutFailover

ENVIRONMENT = "PRISM_TEST_REDIS_URL"


class RedisBackend(NamedTuple):
    """Redis that the acceptance suite runs on.

    Attributes:
        server: process that a test may pause and kill; None if there is none.
    """

    url: str
    server: BackendServer | None = None


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """Server that tests share; they neither stop nor reconfigure it."""
    with RedisServer() as server:
        yield server


@pytest.fixture(scope="session")
def redis_cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


@pytest.fixture(scope="session")
def redis_sentinel() -> Iterator[SentinelWithoutFailover]:
    with SentinelWithoutFailover() as sentinel:
        yield sentinel


@pytest.fixture(scope="session")
def redis_backend(request: pytest.FixtureRequest) -> RedisBackend:
    if url := _external_url("redis", "rediss"):
        return RedisBackend(url)
    server = request.getfixturevalue("redis_server")
    return RedisBackend(server.url, server)


@pytest.fixture(scope="session")
def redis_cluster_backend(request: pytest.FixtureRequest) -> RedisBackend:
    if url := _external_url("redis+cluster", "rediss+cluster"):
        return RedisBackend(url)
    cluster = request.getfixturevalue("redis_cluster")
    return RedisBackend(cluster.url, cluster)


@pytest.fixture(scope="session")
def redis_sentinel_backend(request: pytest.FixtureRequest) -> RedisBackend:
    if url := _external_url("redis+sentinel", "rediss+sentinel"):
        return RedisBackend(url)
    sentinel = request.getfixturevalue("redis_sentinel")
    return RedisBackend(sentinel.url, sentinel)


def _external_url(*schemes: str) -> str:
    """Return the URL in the environment if it has one of these schemes, else nothing."""
    url = os.environ.get(ENVIRONMENT, "")
    return url if url.partition("://")[0] in schemes else ""
