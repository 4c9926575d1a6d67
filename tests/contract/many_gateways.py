"""Several gateways on one store, with many more calls than in every run: `make many-gateways`.

Each class counts to 10,080, has 2,001 races, and records a history of 5,040 calls. The file has a
name that no other run collects.
"""

from __future__ import annotations

from typing import ClassVar

import pytest

from prism.adapters.nats import DRIVER as NATS
from prism.adapters.redis import DRIVER as REDIS
from prism.testing import OpenBackend
from prism.testing.levels import over_grpc
from prism.testing.suite.shared_store import SharedStores
from tests.servers.nats_fixtures import NatsBackend
from tests.servers.redis_fixtures import RedisBackend

# The callers of one key wait for each other: on a busy machine longer than the default.
TIMEOUT = "25s"


class ManyCalls(SharedStores):
    shared_increments: ClassVar[int] = 84
    shared_races: ClassVar[int] = 667
    shared_steps: ClassVar[int] = 420
    timeout_factor: ClassVar[float] = 20.0


@pytest.mark.timeout(1200)
class TestOnRedis(ManyCalls):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(redis_backend: RedisBackend) -> OpenBackend:
        return over_grpc(REDIS, {"url": redis_backend.url, "timeout": TIMEOUT})


@pytest.mark.timeout(1200)
class TestOnNats(ManyCalls):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(nats_backend: NatsBackend) -> OpenBackend:
        return over_grpc(NATS, {"url": nats_backend.url, "timeout": TIMEOUT})
