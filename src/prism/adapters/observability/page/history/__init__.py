"""What is kept of the past for the page, of bounded size; written often, and rarely read."""

from __future__ import annotations

import time

from prism.adapters.observability.page.history.failures import RecentFailures
from prism.adapters.observability.page.history.lifecycle import LifecycleEvents
from prism.adapters.observability.page.history.operations import OperationSamples

__all__ = ["History", "LifecycleEvents", "OperationSamples", "RecentFailures"]


class History:
    """Of one server, from its making on."""

    __slots__ = ("_begun_s", "events", "failures", "operations")

    def __init__(
        self, operations: OperationSamples, failures: RecentFailures, events: LifecycleEvents
    ) -> None:
        self.operations = operations
        self.failures = failures
        self.events = events
        self._begun_s = time.monotonic()

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._begun_s
