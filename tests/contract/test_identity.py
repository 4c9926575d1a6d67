"""The acceptance suite through an identity that may do everything, by a policy of many rules.

What a policy changes are the operations of callers, so the groups are those of the operations.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from prism.adapters.memstore import DRIVER
from prism.domain.access.tokens import new_token
from prism.testing import OpenBackend
from prism.testing.levels import SERVER, over_grpc
from prism.testing.suite import (
    Basic,
    Batches,
    CompareAndSets,
    Counters,
    Scans,
    Transactions,
    Ttl,
    Watches,
)

POLICY = """
[[rules]]
who = "token:somebody-else"
may_not = ["read", "write", "delete", "scan", "watch", "admin"]

[[rules]]
who = "anonymous"
may = "read"
prefixes = "public/"

[[rules]]
who = "token:suite"
role = "administrator"

[[quotas]]
who = "token:suite"
operations_per_second = 1_000_000_000
bytes_per_second = 1_000_000_000_000
watches = 1_000_000
connections = 1_000_000
"""


@pytest.mark.xdist_group("identity")
class TestWithAToken(Basic, Ttl, Batches, CompareAndSets, Scans, Counters, Watches, Transactions):
    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(tmp_path_factory: pytest.TempPathFactory) -> OpenBackend:
        folder = tmp_path_factory.mktemp("identity")
        token, line = new_token("suite")
        (folder / "policy.toml").write_text(POLICY)
        (folder / "tokens").write_text(line)
        server = replace(SERVER, policy=folder / "policy.toml", tokens=folder / "tokens")
        return over_grpc(DRIVER, server=server, name="memstore behind a policy", token=token)
