"""The whole suite on the embedded store with the fault of this run.

Its tests fail by design, so the file has a name that no other run collects.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import Phase

from prism.testing import AcceptanceSuite, Level, OpenBackend
from tests.selftest.faults import with_fault
from tests.selftest.verdict import FAULT


class TestBroken(AcceptanceSuite):
    # Short, because there are dozens of faults and the store is in the same process: what
    # does not happen within a second never happens.
    timeout_factor: ClassVar[float] = 0.1
    stress_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 0.3}
    model_examples: ClassVar[dict[Level, int]] = {Level.IN_PROCESS: 10}
    idle_scan_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 3.0}
    model_phases = (Phase.generate,)

    @pytest.fixture(scope="class")
    @staticmethod
    def open_backend(request: pytest.FixtureRequest) -> OpenBackend:
        return with_fault(request.config.stash[FAULT])
