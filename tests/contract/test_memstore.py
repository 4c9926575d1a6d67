"""Acceptance suite on the memstore: in process, over gRPC on each transport, through a proxy."""

from __future__ import annotations

import pytest

from prism.adapters.memstore import DRIVER
from prism.testing import AcceptanceSuite, OpenBackend
from prism.testing.levels import in_process, over_grpc, through_proxy


class TestInProcess(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        return in_process(DRIVER)


class TestOverGrpc(AcceptanceSuite):
    @pytest.fixture(
        scope="class", params=["h2corn", pytest.param("grpcio", marks=pytest.mark.slow)]
    )
    @staticmethod
    def open_backend(request: pytest.FixtureRequest) -> OpenBackend:
        return over_grpc(DRIVER, transport=request.param)


@pytest.mark.slow
@pytest.mark.xdist_group("memstore-proxy")
class TestThroughProxy(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        return through_proxy(DRIVER)
