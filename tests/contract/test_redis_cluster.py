"""The acceptance suite on a Redis Cluster of three masters."""

from __future__ import annotations

import pytest

from prism.adapters.redis import DRIVER
from prism.testing import AcceptanceSuite, OpenBackend
from prism.testing.levels import in_process
from tests.servers.redis_fixtures import RedisBackend

pytestmark = [pytest.mark.xdist_group("redis-cluster"), pytest.mark.slow]


class TestInProcess(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(redis_cluster_backend: RedisBackend) -> OpenBackend:
        return in_process(
            DRIVER,
            {"url": redis_cluster_backend.url},
            backend_server=redis_cluster_backend.server,
            name="redis cluster",
        )
