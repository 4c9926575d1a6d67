from __future__ import annotations

import asyncio
from datetime import timedelta

from prism.domain.patterns.supervisor import Supervisor
from prism.domain.patterns.values import EventKind
from tests.unit.patterns.fakes import FakePendingRegistration, FakePorts, FakeProcess


async def test_pattern_that_hangs_in_its_stop_is_killed_within_the_timeout(
    patterns: Supervisor, fakes: FakePorts
) -> None:
    async def hang(timeout: timedelta = timedelta()) -> None:
        await asyncio.Event().wait()

    def register_and_hang(process: FakeProcess, pending: FakePendingRegistration) -> None:
        process.stubborn = True
        process.lifecycle.stop = hang  # type: ignore[method-assign]
        fakes.register(process, pending)

    fakes.next_launches.append(register_and_hang)
    await patterns.start()
    async with asyncio.timeout(30):
        await patterns.stop(timedelta(seconds=2))
    hung = next(each for each in fakes.processes if each.stubborn)
    assert hung.signals == ["SIGTERM", "SIGKILL"]
    messages = [each.message for each in fakes.journal.events() if each.kind is EventKind.FAILED]
    assert messages == ["it did not stop within 1.5 s"]
