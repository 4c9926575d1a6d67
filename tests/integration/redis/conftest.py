"""Fixtures: the driver on real Redis servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeAlias

import pytest
import redis

from prism.adapters.redis import DRIVER
from prism.ports import FullKeyValue
from prism.testing import Backend
from prism.testing.levels import in_process
from tests.servers.redis import RedisServer

Open: TypeAlias = Callable[..., AbstractAsyncContextManager[Backend]]


def _open(url: str, **settings: str) -> AbstractAsyncContextManager[Backend]:
    return in_process(DRIVER, {"url": url, **settings})()


@pytest.fixture(scope="session")
def open_redis() -> Open:
    """Function that opens the driver on a URL, with more settings as text."""
    return _open


@pytest.fixture
async def backend(redis_server: RedisServer) -> AsyncIterator[Backend]:
    """The driver on the shared server."""
    async with _open(redis_server.url) as backend:
        yield backend


@pytest.fixture
def kv(backend: Backend) -> FullKeyValue:
    return backend.kv


@pytest.fixture
def raw(redis_server: RedisServer) -> Iterator[redis.Redis]:
    """redis-py client of the shared server, whose database is emptied first."""
    with redis_server.client() as client:
        client.flushdb()
        yield client


@pytest.fixture
def own_server() -> Iterator[RedisServer]:
    """Server of this test alone, which may stop and reconfigure it."""
    with RedisServer() as server:
        yield server
