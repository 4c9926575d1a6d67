"""A single NATS server keeps the contract."""

from __future__ import annotations

import pytest

from prism.adapters.nats import DRIVER
from prism.testing import AcceptanceSuite, OpenBackend
from prism.testing.levels import in_process, over_grpc
from tests.servers.nats_fixtures import NatsBackend

TIMEOUT = "2s"
"""More than anything here takes, and less to wait for a server that is paused."""


@pytest.mark.xdist_group("nats")
class TestInProcess(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(nats_backend: NatsBackend) -> OpenBackend:
        return in_process(
            DRIVER,
            {"url": nats_backend.url, "timeout": TIMEOUT},
            backend_server=nats_backend.server,
        )


@pytest.mark.xdist_group("nats-grpc")
class TestOverGrpc(AcceptanceSuite):
    @pytest.fixture(
        scope="class", params=["h2corn", pytest.param("grpcio", marks=pytest.mark.slow)]
    )
    @staticmethod
    def open_backend(request: pytest.FixtureRequest, nats_backend: NatsBackend) -> OpenBackend:
        return over_grpc(
            DRIVER,
            {"url": nats_backend.url, "timeout": TIMEOUT},
            transport=request.param,
            backend_server=nats_backend.server,
        )
