"""Redis and NATS servers for tests of any kind, each started by the first test that needs it."""

from __future__ import annotations

import gc
import re

import pytest

from tests.environment import keep_files_in_memory

pytest_plugins = ["tests.servers.nats_fixtures", "tests.servers.redis_fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    keep_files_in_memory()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_NamesWithoutGroup())


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--every-level",
        action="store_true",
        help="run the acceptance suite on grpcio in front of each driver, not of one",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("every_level"):
        return
    # A transport does not know the driver behind it, so the embedded store is enough to test it.
    kept = [item for item in items if item.get_closest_marker("every_level") is None]
    if len(kept) < len(items):
        config.hook.pytest_deselected(items=set(items).difference(kept))
        items[:] = kept


def pytest_collection_finish() -> None:
    # Tests stay until the end. For thousands of them a full collection takes half a second.
    gc.freeze()


class _NamesWithoutGroup:
    """Removes the group that xdist adds to a name, so that `--last-failed` finds the test."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        report.nodeid = re.sub(r"@[^\]/]+$", "", report.nodeid)
