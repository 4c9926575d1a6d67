"""The whole suite, bound to the embedded store with each fault in turn.

Its tests fail by design, so its name keeps it out of every other run; `verdicts`
is the plugin that judges.
"""

from __future__ import annotations

from typing import ClassVar

import pytest
from hypothesis import Phase

from prism.adapters.memstore import DRIVER
from prism.testing import AcceptanceSuite, Level, OpenBackend
from prism.testing.levels import in_process
from prism.testing.suite.faults import FAULTS, Fault, with_fault


def _bound(fault: type[Fault]) -> type:
    class Bound(AcceptanceSuite):
        # What is looked for shows early, and there are dozens of these.
        stress_seconds: ClassVar[dict[Level, float]] = {Level.IN_PROCESS: 0.3}
        model_examples: ClassVar[dict[Level, int]] = {Level.IN_PROCESS: 10}
        model_phases = (Phase.generate,)

        @pytest.fixture(scope="class")
        @staticmethod
        def open_backend() -> OpenBackend:
            return with_fault(in_process(DRIVER), fault)

    Bound.__name__ = Bound.__qualname__ = f"Test{fault.__name__}"
    return Bound


for _fault in FAULTS:
    globals()[f"Test{_fault.__name__}"] = _bound(_fault)
