"""Acceptance suite on SQLite: in process, over gRPC on each transport, through a proxy."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from prism.adapters.sqlite import DRIVER
from prism.testing import AcceptanceSuite, Level, OpenBackend
from prism.testing.levels import in_process, over_grpc, through_proxy


@pytest.fixture(scope="class")
def settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder: Path = tmp_path_factory.mktemp("sqlite")
    return {"path": str(folder / "prism.db")}


@pytest.mark.xdist_group("sqlite")
class TestInProcess(AcceptanceSuite):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(settings: dict[str, str]) -> OpenBackend:
        return in_process(DRIVER, settings)


@pytest.mark.slow
class TestOverGrpc(AcceptanceSuite):
    # `test_memstore.py` tries the layers between the test and the driver at more length.
    model_examples: ClassVar[dict[Level, int]] = {Level.WIRE: 15}

    @pytest.fixture(
        scope="class",
        params=[
            pytest.param("h2corn", marks=pytest.mark.xdist_group("sqlite-h2corn")),
            pytest.param(
                "grpcio", marks=[pytest.mark.xdist_group("sqlite-grpcio"), pytest.mark.every_level]
            ),
        ],
    )
    @staticmethod
    def open_backend(request: pytest.FixtureRequest, settings: dict[str, str]) -> OpenBackend:
        return over_grpc(DRIVER, settings, transport=request.param)


@pytest.mark.slow
@pytest.mark.xdist_group("sqlite-proxy")
class TestThroughProxy(AcceptanceSuite):
    model_examples: ClassVar[dict[Level, int]] = {Level.PROXY: 8}

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(settings: dict[str, str]) -> OpenBackend:
        return through_proxy(DRIVER, settings)
