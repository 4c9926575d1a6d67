"""Group Model: random operations, held against a plain dict."""

from __future__ import annotations

import asyncio
from typing import ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from prism.testing.suite.backend import Backend, Level
from prism.testing.suite.group import Group, group
from prism.testing.suite.machine import ModelMachine


# Every call has a bound of its own; what takes long is to shrink a failure.
@group(time_limit_seconds=600.0)
class Model(Group):
    """The stateful property test."""

    model_examples: ClassVar[dict[Level, int]] = {
        Level.IN_PROCESS: 80,
        Level.WIRE: 40,
        Level.PROXY: 20,
    }
    """How many histories are tried: a history is some thirty operations."""

    model_phases: ClassVar[tuple[Phase, ...]] = (Phase.generate, Phase.shrink)

    async def test_any_history_of_operations_agrees_with_a_dict(
        self, backend: Backend, prefix: str
    ) -> None:
        loop = asyncio.get_running_loop()

        class Bound(ModelMachine):
            def __init__(self) -> None:
                super().__init__(backend, loop, prefix)

        # Derandomized: a run that fails for nobody else helps nobody.
        bounds = settings(
            max_examples=self.model_examples[backend.level],
            stateful_step_count=30,
            deadline=None,
            database=None,
            derandomize=True,
            print_blob=False,
            report_multiple_bugs=False,
            phases=self.model_phases,
            suppress_health_check=list(HealthCheck),
        )
        # Rules are plain functions: they run in a thread, and the operations here.
        await asyncio.to_thread(run_state_machine_as_test, Bound, settings=bounds)
