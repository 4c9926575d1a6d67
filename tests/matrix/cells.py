"""The cells of the matrix: what runs on which server, with which Python and dependencies."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.matrix import servers
from tests.matrix.environments import (
    VERSIONS,
    Dependencies,
    Environment,
    newest_installed,
)
from tests.matrix.servers import ServerProgram

Groups = Mapping[str, tuple[str, ...]]
"""Paths of tests by the name of their column in a table."""

_INTEGRATION = "tests/integration"
_UNIT = (
    *("bootstrap", "cli", "control", "domain", "grpc", "http", "memstore", "nats"),
    *(
        "observability",
        "patterns",
        "process",
        "proxy",
        "redis",
        "remote",
        "sqlite",
        "tracing",
        "wire",
    ),
)

_ON_REDIS = {
    "single server": ("tests/contract/test_redis.py::TestInProcess",),
    "Sentinel": ("tests/contract/test_redis_sentinel.py::TestInProcess",),
    "Cluster": ("tests/contract/test_redis_cluster.py::TestInProcess",),
    "integration": (f"{_INTEGRATION}/redis", f"{_INTEGRATION}/backends"),
}
_ON_NATS = {
    "single server": ("tests/contract/test_nats.py::TestInProcess",),
    "three replicas": (f"{_INTEGRATION}/nats/test_cluster.py",),
    "integration": (f"{_INTEGRATION}/nats", f"{_INTEGRATION}/backends"),
}
_ANYWHERE = {
    "unit": tuple(f"tests/unit/{folder}" for folder in _UNIT),
    "memstore": ("tests/contract/test_memstore.py",),
    "SQLite": ("tests/contract/test_sqlite.py::TestInProcess",),
    "Redis": ("tests/contract/test_redis.py::TestInProcess",),
    "NATS": ("tests/contract/test_nats.py::TestInProcess",),
    "integration": (
        *(f"{_INTEGRATION}/backends", f"{_INTEGRATION}/cli/test_session.py"),
        *(f"{_INTEGRATION}/supervision/test_whole_life.py", f"{_INTEGRATION}/test_signals.py"),
    ),
}
_REAL = f"{_INTEGRATION}/backends/test_watch.py::test_changes_by_another_process_are_seen"
_QUICK = {
    "unit": ("tests/unit/cli/test_commands.py",),
    # Commands differ between versions, so the users of the manual are tried too.
    "Redis": tuple(f"{_INTEGRATION}/redis/test_{name}.py" for name in ("refusals", "permissions")),
    "NATS": (f"{_INTEGRATION}/nats/test_scans.py",),
    # A server in a process of its own and commands, for each backend that a cell varies.
    "integration": tuple(f"{_REAL}[{name}]" for name in ("redis", "nats")),
}


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of tests.

    Attributes:
        table: name of the table that shows it.
        environment: Python and dependencies.
        servers: servers in place of the default ones.
        groups: the tests.
        only: expression that selects tests, as for `pytest -k`.
        required: whether it is a fault when the cell cannot run on this machine.
        timeout_s: time that the tests may take.
    """

    table: str
    environment: Environment
    servers: tuple[ServerProgram, ...]
    groups: Groups
    only: str = ""
    required: bool = False
    timeout_s: float = 3600.0

    @property
    def label(self) -> str:
        """Name of the server or of the environment, for people."""
        if self.table == "python":
            return f"Python {self.environment.python}"
        return ", ".join(f"{server.product} {server.series}" for server in self.servers)

    @property
    def name(self) -> str:
        """Name on the command line and in the results."""
        if self.table == "python":
            return self.environment.name
        return "-".join(server.name for server in self.servers)


def is_chosen(name: str, only: str) -> bool:
    """Return whether `--only` chooses this name: it has the text in it, and no number goes on.

    `redis7` chooses redis7.0 and redis7.2, and `nats2.11.1` does not choose nats2.11.11.
    """
    ends_in_digit = only[-1:].isdigit()
    return re.search(re.escape(only) + (r"(?!\d)" if ends_in_digit else ""), name) is not None


def all_cells() -> Iterator[Cell]:
    """Return every cell: one for each server, and one for each environment."""
    for server in servers.SERVERS:
        groups = _ON_REDIS if server.driver == "redis" else _ON_NATS
        newest = Environment(VERSIONS[0], Dependencies.NEWEST)
        yield Cell(server.driver, newest, (server,), groups, only=server.driver)
    for environment in (
        Environment(VERSIONS[0], Dependencies.OLDEST),
        *(Environment(version, Dependencies.NEWEST) for version in VERSIONS),
    ):
        yield Cell("python", environment, (), _ANYWHERE)


def short_cells() -> Iterator[Cell]:
    """Return two cells: the oldest of everything, and the newest that this machine has."""
    for environment, chosen in (
        (Environment(VERSIONS[0], Dependencies.OLDEST), (servers.REDIS_7_0, servers.NATS_2_11)),
        (
            Environment(newest_installed(), Dependencies.NEWEST),
            (servers.VALKEY_9_1, servers.NATS_2_15),
        ),
    ):
        yield Cell("python", environment, chosen, _QUICK, required=True, timeout_s=600.0)
