"""The contract as tests, written against the ports alone.

Each group is a class of its own, so that it can be run alone; every test
function's name says what it promises.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prism.testing.suite.backend import Backend, BackendServer, Level, OpenBackend, Wrap
from prism.testing.suite.basic import Basic
from prism.testing.suite.batches import Batches
from prism.testing.suite.compare_and_sets import CompareAndSets
from prism.testing.suite.concurrency import Concurrency
from prism.testing.suite.counters import Counters
from prism.testing.suite.errors import Errors
from prism.testing.suite.group import NOT_REACHABLE, UNSUPPORTED
from prism.testing.suite.lifecycle_rules import LifecycleRules
from prism.testing.suite.linearizability import Linearizability
from prism.testing.suite.model import Model
from prism.testing.suite.scans import Scans
from prism.testing.suite.ttl import Ttl
from prism.testing.suite.watches import Watches
from prism.testing.suite.wrapper import DriverWrapper, OperationBlocker

GROUPS: dict[str, type] = {
    "basic": Basic,
    "ttl": Ttl,
    "batch": Batches,
    "compare-and-set": CompareAndSets,
    "scan": Scans,
    "counter": Counters,
    "watch": Watches,
    "errors": Errors,
    "lifecycle": LifecycleRules,
    "concurrency": Concurrency,
    "model": Model,
    "linearizability": Linearizability,
}
"""By the names that a report gives them."""


class AcceptanceSuite(
    Basic,
    Ttl,
    Batches,
    CompareAndSets,
    Scans,
    Counters,
    Watches,
    Errors,
    LifecycleRules,
    Concurrency,
    Model,
    Linearizability,
):
    """All of it. Derive from it, and supply the fixture `open_backend`."""


def group_of(test: Callable[..., Any]) -> str | None:
    """The name of the group that a test function belongs to."""
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
    "Scans",
    "Ttl",
    "Watches",
    "Wrap",
    "group_of",
]
