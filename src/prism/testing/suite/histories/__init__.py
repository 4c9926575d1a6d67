"""What many callers did and saw, and whether one order of it explains everything.

Plain data and the standard library: nothing here knows a port but the recorder.
"""

from prism.testing.suite.histories.actions import (
    Action,
    CompareAndDelete,
    CompareAndSet,
    Delete,
    Exists,
    Get,
    Increment,
    Set,
    Value,
)
from prism.testing.suite.histories.calls import NEVER, UNKNOWN, Call, History
from prism.testing.suite.histories.check import check, violation
from prism.testing.suite.histories.explain import Violation
from prism.testing.suite.histories.recorder import Caller, Recorder
from prism.testing.suite.histories.search import Undecided, is_linearizable

__all__ = [
    "NEVER",
    "UNKNOWN",
    "Action",
    "Call",
    "Caller",
    "CompareAndDelete",
    "CompareAndSet",
    "Delete",
    "Exists",
    "Get",
    "History",
    "Increment",
    "Recorder",
    "Set",
    "Undecided",
    "Value",
    "Violation",
    "check",
    "is_linearizable",
    "violation",
]
