"""Acceptance suite through the port for Redis clients: redis-py in front of a Prism server.

The groups are those that the protocol can say. It has no word for states and commands of a
server, and the errors of requests are those of the driver that stands for the port here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from prism.testing import Level, OpenBackend
from prism.testing.levels import in_process
from prism.testing.suite import (
    Basic,
    Batches,
    CompareAndSets,
    Concurrency,
    Counters,
    Linearizability,
    Scans,
    Transactions,
    Ttl,
    Watches,
)
from tests.contract.redis_port_driver import DRIVER
from tests.integration.conftest import Server
from tests.integration.resp.conftest import port_of


@pytest.fixture(scope="class")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port for Redis clients of a server with a SQLite file."""
    ports = ("--grpc-port", "0", "--metrics-port", "0", "--resp-port", "0")
    driver = ("--driver", "sqlite", "--sqlite-path", "prism.db", "--sqlite-synchronous", "off")
    server = Server((*ports, *driver), {}, tmp_path_factory.mktemp("redis-port"))
    try:
        yield port_of(server.serving())
        server.stop()
    finally:
        server.close()


@pytest.mark.slow
@pytest.mark.xdist_group("redis-port")
class TestThroughTheRedisPort(
    Basic,
    Ttl,
    Batches,
    CompareAndSets,
    Scans,
    Counters,
    Watches,
    Transactions,
    Concurrency,
    Linearizability,
):
    # What is behind the port is what `test_sqlite.py` tries at more length.
    idle_scan_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 0.5}

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(port: int) -> OpenBackend:
        return in_process(DRIVER, {"port": str(port)}, name="sqlite at the Redis port")
