"""Histories of calls on a key, and the check that one order of the calls explains them.

`history` holds the values, `check` the verdict, `search` the algorithm: plain data and the
standard library. Only `recorder` knows the ports.
"""

from prism.testing.suite.histories.check import Violation, check, violation
from prism.testing.suite.histories.history import (
    NEVER,
    UNKNOWN,
    Action,
    Call,
    ChangeTtl,
    CompareAndDelete,
    CompareAndSet,
    Delete,
    Exists,
    Get,
    History,
    Increment,
    Set,
    Value,
)
from prism.testing.suite.histories.recorder import (
    Caller,
    EveryWriteWorkload,
    RandomWorkload,
    Recorder,
)
from prism.testing.suite.histories.search import Undecided, is_linearizable

__all__ = [
    "NEVER",
    "UNKNOWN",
    "Action",
    "Call",
    "Caller",
    "ChangeTtl",
    "CompareAndDelete",
    "CompareAndSet",
    "Delete",
    "EveryWriteWorkload",
    "Exists",
    "Get",
    "History",
    "Increment",
    "RandomWorkload",
    "Recorder",
    "Set",
    "Undecided",
    "Value",
    "Violation",
    "check",
    "is_linearizable",
    "violation",
]
