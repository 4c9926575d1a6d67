"""Category 1: concurrent writes."""

from __future__ import annotations

import asyncio

from prism.ports import FullKeyValue
from prism.testing.suite.group import Group, group
from prism.testing.suite.workload import gather_bounded, gather_or_cancel

WRITERS = 20
TURNS = 20


@group()
class ConcurrentWrites(Group):
    """One writer at full speed, many on keys of their own, many on one key, a pool."""

    async def test_one_writer_at_full_speed_loses_no_write(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        keys = [f"{prefix}{number}" for number in range(WRITERS * TURNS)]
        await gather_bounded(kv.set(key, key.encode()) for key in keys)
        entries = await gather_bounded(kv.get(key) for key in keys)
        assert [entry and entry.value for entry in entries] == [key.encode() for key in keys]

    async def test_writers_on_their_own_keys_do_not_disturb_one_another(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        async def write(key: str) -> None:
            for turn in range(TURNS):
                value = b"%s %d" % (key.encode(), turn)
                await kv.set(key, value)
                entry = await kv.get(key)
                assert entry is not None
                assert entry.value == value

        await gather_or_cancel(*(write(f"{prefix}{number}") for number in range(WRITERS)))

    async def test_of_many_writers_on_one_key_one_is_last(self, kv: FullKeyValue, key: str) -> None:
        values = [b"%d" % number * 50 for number in range(WRITERS)]
        for _ in range(TURNS):
            versions = await gather_or_cancel(*(kv.set(key, value) for value in values))
            entry = await kv.get(key)
            assert entry is not None
            # Whole, and with the version of whoever wrote it.
            assert (entry.value, entry.version) in list(zip(values, versions, strict=True))

    async def test_a_pool_of_workers_finishes_every_job_once(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        jobs: asyncio.Queue[int] = asyncio.Queue()
        for number in range(WRITERS * TURNS):
            jobs.put_nowait(number)

        async def work() -> int:
            done = 0
            while not jobs.empty():
                number = jobs.get_nowait()
                assert await kv.exists(f"{prefix}{number}") is False
                await kv.set(f"{prefix}{number}", b"%d" % number)
                done += 1
            return done

        done = await gather_or_cancel(*(work() for _ in range(WRITERS)))
        assert sum(done) == WRITERS * TURNS
        entries = await gather_bounded(kv.get(f"{prefix}{number}") for number in range(sum(done)))
        assert [entry and int(entry.value) for entry in entries] == list(range(sum(done)))
