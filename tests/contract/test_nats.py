"""The driver keeps the contract on a single NATS server."""

from __future__ import annotations

from typing import ClassVar

import pytest

from prism.adapters.nats import DRIVER
from prism.testing import AcceptanceSuite, Level, OpenBackend
from prism.testing.levels import in_process, over_grpc, through_proxy
from tests.servers.nats_fixtures import NatsBackend

pytestmark = pytest.mark.slow


@pytest.mark.xdist_group("nats")
class TestInProcess(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(nats_backend: NatsBackend) -> OpenBackend:
        return in_process(DRIVER, {"url": nats_backend.url}, backend_server=nats_backend.server)


class TestOverGrpc(AcceptanceSuite):
    # `test_memstore.py` tests the layers between the test and the driver in more cases.
    model_examples: ClassVar[dict[Level, int]] = {Level.WIRE: 15}

    @pytest.fixture(
        scope="class",
        params=[
            pytest.param("h2corn", marks=pytest.mark.xdist_group("nats-h2corn")),
            pytest.param(
                "grpcio", marks=[pytest.mark.xdist_group("nats-grpcio"), pytest.mark.every_level]
            ),
        ],
    )
    @staticmethod
    def open_backend(request: pytest.FixtureRequest, nats_backend: NatsBackend) -> OpenBackend:
        return over_grpc(
            DRIVER,
            {"url": nats_backend.url},
            transport=request.param,
            backend_server=nats_backend.server,
        )


@pytest.mark.xdist_group("nats-proxy")
class TestThroughProxy(AcceptanceSuite):
    model_examples: ClassVar[dict[Level, int]] = {Level.PROXY: 8}

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(nats_backend: NatsBackend) -> OpenBackend:
        return through_proxy(DRIVER, {"url": nats_backend.url}, backend_server=nats_backend.server)
