"""Group Concurrency: nine categories, a file for each."""

from __future__ import annotations

from prism.testing.suite.concurrency.atomicity import Atomicity
from prism.testing.suite.concurrency.bulkhead import Bulkhead
from prism.testing.suite.concurrency.degradation import Degradation
from prism.testing.suite.concurrency.expiring import ExpiryUnderLoad
from prism.testing.suite.concurrency.outages import Outages
from prism.testing.suite.concurrency.pipeline import Pipeline
from prism.testing.suite.concurrency.reads import ConcurrentReads
from prism.testing.suite.concurrency.readwrite import ReadWriteRace
from prism.testing.suite.concurrency.stress import Stress
from prism.testing.suite.concurrency.writes import ConcurrentWrites


class Concurrency(
    ConcurrentWrites,
    ConcurrentReads,
    ReadWriteRace,
    Bulkhead,
    Atomicity,
    Stress,
    ExpiryUnderLoad,
    Pipeline,
    Degradation,
    Outages,
):
    """Many callers at once, and what they may count on."""


__all__ = ["Concurrency", "Stress"]
