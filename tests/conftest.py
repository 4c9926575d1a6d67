"""Redis and NATS servers for tests of any kind, each started by the first test that needs it."""

from __future__ import annotations

import re

import pytest

pytest_plugins = ["tests.servers.nats_fixtures", "tests.servers.redis_fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_NamesWithoutGroup())


class _NamesWithoutGroup:
    """Takes off the group that xdist adds to a name, so that `--last-failed` finds the test."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        report.nodeid = re.sub(r"@[^\]/]+$", "", report.nodeid)
