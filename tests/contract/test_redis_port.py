"""Acceptance suite through the port for Redis clients: redis-py in front of a Prism server.

The groups are those that the protocol can say: it has no versions, so there is nothing to compare
with, and other groups are about the process behind the port.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from prism.testing import OpenBackend
from prism.testing.levels import in_process
from prism.testing.suite import Basic, Batches, Counters, Scans, Ttl
from tests.contract.redis_port_driver import DRIVER
from tests.integration.conftest import Server
from tests.integration.resp.conftest import port_of


@pytest.fixture(scope="class")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Port for Redis clients of a server with the embedded store."""
    args = ("--grpc-port", "0", "--metrics-port", "0", "--resp-port", "0")
    server = Server(args, {}, tmp_path_factory.mktemp("redis-port"))
    try:
        yield port_of(server.serving())
        server.stop()
    finally:
        server.close()


@pytest.mark.xdist_group("redis-port")
class TestThroughTheRedisPort(Basic, Ttl, Batches, Scans, Counters):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(port: int) -> OpenBackend:
        return in_process(DRIVER, {"port": str(port)}, name="memstore at the Redis port")
