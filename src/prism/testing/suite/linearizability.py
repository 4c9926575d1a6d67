"""Group linearizability: recorded histories of concurrent calls must be linearizable."""

from __future__ import annotations

import asyncio
import random

import pytest

from prism.ports import Capability, FullKeyValue
from prism.testing.suite.backend import Backend
from prism.testing.suite.calls import gather_or_cancel
from prism.testing.suite.group import NOT_REACHABLE, group, needs
from prism.testing.suite.histories import RandomWorkload, Recorder, check
from prism.testing.suite.mixed_writes import MixedWrites

CALLERS = 12
STEPS = 50


@group()
class Linearizability(MixedWrites):
    """One order of the calls on each key explains the results of all callers."""

    async def test_a_history_on_one_key_is_linearizable(self, backend: Backend, key: str) -> None:
        recorder = Recorder()
        await _work(recorder, [backend.kv], [key], backend)
        check(recorder.histories)

    async def test_a_history_on_several_keys_is_linearizable(
        self, backend: Backend, prefix: str
    ) -> None:
        recorder = Recorder()
        await _work(recorder, [backend.kv], [f"{prefix}{number}" for number in range(4)], backend)
        check(recorder.histories)

    async def test_a_history_through_several_clients_is_linearizable(
        self, backend: Backend, key: str
    ) -> None:
        if backend.connect is None:
            pytest.skip(f"{NOT_REACHABLE}there are no connections")
        recorder = Recorder()
        async with backend.connect() as one, backend.connect() as other:
            await _work(recorder, [backend.kv, one, other], [key], backend)
        check(recorder.histories)

    @needs(Capability.COUNTER)
    async def test_a_history_of_increments_is_linearizable(
        self, backend: Backend, key: str
    ) -> None:
        recorder = Recorder()

        async def count(name: str) -> None:
            caller, chance = recorder.caller(name, backend.kv), random.Random(name)
            for _ in range(STEPS // 2):
                if chance.random() < 0.6:
                    await caller.increment(key, chance.choice([1, 2, -1]))
                else:
                    await caller.get(key)

        await gather_or_cancel(*(count(f"caller {number}") for number in range(CALLERS)))
        check(recorder.histories)

    async def test_a_history_with_cancelled_calls_is_linearizable(
        self, backend: Backend, key: str
    ) -> None:
        recorder = Recorder()

        async def work(name: str) -> None:
            chance = random.Random(name)
            workload = RandomWorkload(
                name, recorder.caller(name, backend.kv), [key], backend.profile
            )
            for _ in range(STEPS):
                step = asyncio.create_task(workload.step())
                if chance.random() < 0.1:
                    for _ in range(chance.randrange(6)):
                        await asyncio.sleep(0)
                    step.cancel()
                await asyncio.wait([step])
                if not step.cancelled():
                    step.result()

        await gather_or_cancel(*(work(f"caller {number}") for number in range(CALLERS)))
        check(recorder.histories)


async def _work(
    recorder: Recorder, clients: list[FullKeyValue], keys: list[str], backend: Backend
) -> None:
    async def work(number: int) -> None:
        name = f"caller {number}"
        caller = recorder.caller(name, clients[number % len(clients)])
        workload = RandomWorkload(name, caller, keys, backend.profile)
        for _ in range(STEPS):
            await workload.step()
            await asyncio.sleep(0)

    await gather_or_cancel(*(work(number) for number in range(CALLERS)))
