"""Category 6: stress."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from prism.testing.suite.backend import Backend, Level
from prism.testing.suite.group import Group, group
from prism.testing.suite.histories import Recorder, check
from prism.testing.suite.workload import RandomWorkload, gather_or_cancel

CALLERS = 16
KEYS = 6
# Of one caller: enough to keep every backend busy, and a history that can be kept.
_PAUSE_SECONDS = 0.002


@group()
class Stress(Group):
    """Everything at once, for a while."""

    stress_seconds: ClassVar[dict[Level, float]] = {
        Level.IN_PROCESS: 5.0,
        Level.WIRE: 1.0,
        Level.PROXY: 1.0,
    }

    async def test_a_mixed_workload_under_stress_is_linearizable(
        self, backend: Backend, prefix: str
    ) -> None:
        recorder = Recorder()
        keys = [f"{prefix}{number}" for number in range(KEYS)]
        end = time.monotonic() + self.stress_seconds[backend.level]

        async def work(name: str) -> None:
            caller = recorder.caller(name, backend.kv)
            workload = RandomWorkload(name, caller, keys, backend.profile)
            while time.monotonic() < end:
                await workload.step()
                await asyncio.sleep(_PAUSE_SECONDS)

        await gather_or_cancel(*(work(f"caller {number}") for number in range(CALLERS)))
        assert recorder.size > CALLERS
        await asyncio.to_thread(check, recorder.histories)
