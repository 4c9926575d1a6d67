"""The acceptance suite on a single Redis server."""

from __future__ import annotations

from typing import ClassVar

import pytest

from prism.adapters.redis import DRIVER
from prism.testing import AcceptanceSuite, Level, OpenBackend
from prism.testing.levels import in_process, over_grpc, through_proxy
from tests.servers.redis_fixtures import RedisBackend

pytestmark = pytest.mark.slow


@pytest.mark.xdist_group("redis")
class TestInProcess(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(redis_backend: RedisBackend) -> OpenBackend:
        return in_process(DRIVER, {"url": redis_backend.url}, backend_server=redis_backend.server)


class TestOverGrpc(AcceptanceSuite):
    # `test_memstore.py` tries the layers between the test and the driver at more length.
    model_examples: ClassVar[dict[Level, int]] = {Level.WIRE: 15}

    @pytest.fixture(
        scope="class",
        params=[
            pytest.param("h2corn", marks=pytest.mark.xdist_group("redis-h2corn")),
            pytest.param(
                "grpcio", marks=[pytest.mark.xdist_group("redis-grpcio"), pytest.mark.every_level]
            ),
        ],
    )
    @staticmethod
    def open_backend(request: pytest.FixtureRequest, redis_backend: RedisBackend) -> OpenBackend:
        return over_grpc(
            DRIVER,
            {"url": redis_backend.url},
            transport=request.param,
            backend_server=redis_backend.server,
        )


@pytest.mark.xdist_group("redis-proxy")
class TestThroughProxy(AcceptanceSuite):
    model_examples: ClassVar[dict[Level, int]] = {Level.PROXY: 8}

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(redis_backend: RedisBackend) -> OpenBackend:
        return through_proxy(
            DRIVER, {"url": redis_backend.url}, backend_server=redis_backend.server
        )
