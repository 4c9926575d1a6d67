"""The outage tests pass with a correct server and fail with a broken one."""

from __future__ import annotations

import pytest

from prism.testing import OpenBackend
from prism.testing.levels import over_grpc
from prism.testing.suite.failures import Outages
from tests.selftest.toy_server import ToyServer, spec, target


class TestInProcess(Outages):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        return target(ToyServer())


class TestOverGrpc(Outages):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend() -> OpenBackend:
        server = ToyServer()
        return over_grpc(spec(server), backend_server=server)


async def test_a_server_that_loses_acknowledged_writes_is_caught() -> None:
    with pytest.raises(AssertionError):
        await Outages().test_acknowledged_writes_survive_a_server_crash(
            target(ToyServer(forgets=True)), "prefix/"
        )


async def test_a_crash_that_makes_the_history_not_linearizable_is_caught() -> None:
    with pytest.raises(AssertionError, match="not linearizable"):
        await Outages().test_a_history_across_a_server_crash_is_linearizable(
            target(ToyServer(forgets=True)), "prefix/"
        )


async def test_a_driver_that_does_not_come_back_is_caught() -> None:
    with pytest.raises(AssertionError, match="calls succeed again"):
        await Outages().test_acknowledged_writes_survive_a_server_crash(
            target(ToyServer(returns=False)), "prefix/"
        )
