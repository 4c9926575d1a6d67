"""Acceptance suite on a folder: in process, over gRPC on each transport, through a proxy."""

from __future__ import annotations

from pathlib import Path

import pytest

from prism.testing import AcceptanceSuite, OpenBackend
from prism.testing.levels import in_process, over_grpc, through_proxy


@pytest.fixture(scope="class")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("files")
    return {"path": str(folder), "sync": "false"}


class TestInProcess(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(settings: dict[str, str]) -> OpenBackend:
        return in_process("files", settings)


class TestOverGrpc(AcceptanceSuite):
    @pytest.fixture(scope="class", params=["h2corn", "grpcio"])
    @staticmethod
    def open_backend(request: pytest.FixtureRequest, settings: dict[str, str]) -> OpenBackend:
        return over_grpc("files", settings, transport=request.param)


class TestThroughProxy(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(settings: dict[str, str]) -> OpenBackend:
        return through_proxy("files", settings)
