"""Category 3: readers during writes."""

from __future__ import annotations

import asyncio

from prism.ports import FullKeyValue
from prism.testing.suite.group import Group, group
from prism.testing.suite.workload import gather_or_cancel

READERS = 8
WRITES = 100


@group()
class ReadWriteRace(Group):
    """Readers see what was written, whole, and never go back in time."""

    async def test_readers_see_only_values_that_were_written(
        self, kv: FullKeyValue, key: str
    ) -> None:
        # Of different lengths, so that a mixture would show.
        values = [bytes([number]) * (1 + number * 97) for number in range(20)]
        await kv.set(key, values[0])
        done = asyncio.Event()

        async def read() -> None:
            while not done.is_set():
                entry = await kv.get(key)
                assert entry is not None
                assert entry.value in values
                await asyncio.sleep(0)

        async def write() -> None:
            for turn in range(WRITES):
                await kv.set(key, values[turn % len(values)])
                await asyncio.sleep(0)
            done.set()

        await gather_or_cancel(write(), *(read() for _ in range(READERS)))

    async def test_readers_never_go_back_in_time(self, kv: FullKeyValue, key: str) -> None:
        await kv.set(key, b"0")
        written = 0

        async def read() -> None:
            latest = 0
            while latest < WRITES:
                acknowledged = written
                entry = await kv.get(key)
                assert entry is not None
                number = int(entry.value)
                assert number >= latest, "a reader saw an earlier value than before"
                assert number >= acknowledged, "an acknowledged write was not seen"
                latest = number
                await asyncio.sleep(0)

        async def write() -> None:
            nonlocal written
            for turn in range(1, WRITES + 1):
                await kv.set(key, b"%d" % turn)
                written = turn
                await asyncio.sleep(0)

        await gather_or_cancel(write(), *(read() for _ in range(READERS)))
