"""The acceptance suite on a Redis master that sentinels name."""

from __future__ import annotations

from typing import ClassVar

import pytest

from prism.adapters.redis import DRIVER
from prism.testing import AcceptanceSuite, Level, OpenBackend
from prism.testing.levels import in_process
from tests.servers.redis_fixtures import RedisBackend

pytestmark = [pytest.mark.xdist_group("redis-sentinel"), pytest.mark.slow]


class TestInProcess(AcceptanceSuite):
    # The commands are those of `test_redis.py`; the sentinels only name the server.
    model_examples: ClassVar[dict[Level, int]] = {Level.IN_PROCESS: 20}
    stress_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 1.0}
    idle_scan_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 0.5}

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(redis_sentinel_backend: RedisBackend) -> OpenBackend:
        return in_process(
            DRIVER,
            {"url": redis_sentinel_backend.url},
            backend_server=redis_sentinel_backend.server,
            name="redis sentinel",
        )
