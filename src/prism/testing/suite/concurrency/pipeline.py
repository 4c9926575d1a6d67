"""Category 8: a pipeline."""

from __future__ import annotations

import asyncio

from prism.ports import FullKeyValue
from prism.testing.suite.group import Group, group
from prism.testing.suite.workload import gather_or_cancel

ITEMS = 300
WORKERS = 5
_END = -1


@group()
class Pipeline(Group):
    """Keys go from stage to stage, and the backend is what they share."""

    async def test_nothing_is_lost_between_the_stages_of_a_pipeline(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        generated: asyncio.Queue[int] = asyncio.Queue(maxsize=20)
        written: asyncio.Queue[int] = asyncio.Queue(maxsize=20)
        verified: list[int] = []

        async def generate() -> None:
            for number in range(ITEMS):
                await generated.put(number)
            for _ in range(WORKERS):
                await generated.put(_END)

        async def write() -> None:
            while (number := await generated.get()) != _END:
                await kv.set(f"{prefix}{number}", b"%d" % number)
                await written.put(number)
            await written.put(_END)

        async def verify() -> None:
            while (number := await written.get()) != _END:
                entry = await kv.get(f"{prefix}{number}")
                assert entry is not None
                assert entry.value == b"%d" % number
                assert await kv.delete(f"{prefix}{number}") is True
                verified.append(number)

        workers = [stage() for stage in (write, verify) for _ in range(WORKERS)]
        await gather_or_cancel(generate(), *workers)
        assert sorted(verified) == list(range(ITEMS))
