"""The contract of a backend as tests, written against the ports alone.

Each group is a class, so that it can be run alone. The name of each test states one promise.
"""

from __future__ import annotations

from collections.abc import Callable

from prism.testing.suite.backend import Backend, BackendServer, Level, OpenBackend, Wrap
from prism.testing.suite.basic import Basic
from prism.testing.suite.batch import Batches
from prism.testing.suite.compare_and_set import CompareAndSets
from prism.testing.suite.concurrency import Concurrency
from prism.testing.suite.counter import Counters
from prism.testing.suite.errors import Errors
from prism.testing.suite.group import NOT_REACHABLE, UNSUPPORTED, Group
from prism.testing.suite.lifecycle import LifecycleRules
from prism.testing.suite.linearizability import Linearizability
from prism.testing.suite.model import Model
from prism.testing.suite.restart import Restarts
from prism.testing.suite.scan import Scans
from prism.testing.suite.shared_store import SharedStores
from prism.testing.suite.transactions import Transactions
from prism.testing.suite.ttl import Ttl
from prism.testing.suite.watch import Watches
from prism.testing.suite.wrapper import DriverWrapper, OperationBlocker

GROUPS: dict[str, type[Group]] = {
    "basic": Basic,
    "ttl": Ttl,
    "batch": Batches,
    "compare-and-set": CompareAndSets,
    "scan": Scans,
    "counter": Counters,
    "watch": Watches,
    "transactions": Transactions,
    "errors": Errors,
    "lifecycle": LifecycleRules,
    "concurrency": Concurrency,
    "model": Model,
    "linearizability": Linearizability,
}
"""Groups by the names that reports show."""


class AcceptanceSuite(
    Basic,
    Ttl,
    Batches,
    CompareAndSets,
    Scans,
    Counters,
    Watches,
    Transactions,
    Errors,
    LifecycleRules,
    Concurrency,
    Model,
    Linearizability,
):
    """Every group. Derive from this class and supply the fixture `open_backend`."""


def group_of(test: Callable[..., object]) -> str | None:
    """Return the name of the group that a test function belongs to; None: of no group."""
    for name, group in GROUPS.items():
        if hasattr(group, test.__name__):
            return name
    return None


__all__ = [
    "GROUPS",
    "NOT_REACHABLE",
    "UNSUPPORTED",
    "AcceptanceSuite",
    "Backend",
    "BackendServer",
    "Basic",
    "Batches",
    "CompareAndSets",
    "Concurrency",
    "Counters",
    "DriverWrapper",
    "Errors",
    "Level",
    "LifecycleRules",
    "Linearizability",
    "Model",
    "OpenBackend",
    "OperationBlocker",
    "Restarts",
    "Scans",
    "SharedStores",
    "Transactions",
    "Ttl",
    "Watches",
    "Wrap",
    "group_of",
]
