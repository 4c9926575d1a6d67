"""Category 5: atomic operations."""

from __future__ import annotations

import asyncio

from prism.ports import Capability, FullKeyValue, VersionConflict
from prism.testing.suite.group import Group, group, needs
from prism.testing.suite.workload import gather_or_cancel

CALLERS = 16
ROUNDS = 20


@group()
class Atomicity(Group):
    """Each operation happens at one moment, for everybody the same."""

    async def test_of_many_deletes_at_once_one_finds_the_key(
        self, kv: FullKeyValue, key: str
    ) -> None:
        for _ in range(ROUNDS):
            await kv.set(key, b"value")
            existed = await gather_or_cancel(*(kv.delete(key) for _ in range(CALLERS)))
            assert existed.count(True) == 1
            assert await kv.exists(key) is False

    async def test_exists_and_get_never_come_back_after_a_delete(
        self, kv: FullKeyValue, key: str
    ) -> None:
        async def watch() -> None:
            gone = False
            while not gone or not deleted.is_set():
                gone_before = gone
                gone = not await kv.exists(key) or await kv.get(key) is None
                assert gone or not gone_before, "a deleted key came back"
                await asyncio.sleep(0)

        async def delete() -> None:
            assert await kv.delete(key) is True
            deleted.set()

        for _ in range(ROUNDS):
            deleted = asyncio.Event()
            await kv.set(key, b"value")
            await gather_or_cancel(*(watch() for _ in range(3)), delete())

    @needs(Capability.COMPARE_AND_SET)
    async def test_each_round_of_a_race_has_one_winner(self, kv: FullKeyValue, key: str) -> None:
        wins: list[int] = []

        async def race(caller: int) -> None:
            for turn in range(ROUNDS):
                entry = await kv.get(key)
                assert entry is not None
                try:
                    await kv.compare_and_set(
                        key, b"%d by %d" % (turn, caller), expected=entry.version
                    )
                except VersionConflict:
                    continue
                wins.append(caller)
                chain.append(entry.value)

        chain: list[bytes] = []
        await kv.set(key, b"start")
        await gather_or_cancel(*(race(caller) for caller in range(CALLERS)))
        # Nobody won on what another had replaced already.
        assert len(set(chain)) == len(chain) == len(wins)
        assert wins

    @needs(Capability.COUNTER)
    async def test_increments_and_reads_at_once_only_ever_count_up(
        self, kv: FullKeyValue, key: str
    ) -> None:
        async def count() -> None:
            latest = 0
            for _ in range(ROUNDS):
                number = (await kv.increment(key)).value
                assert number > latest
                entry = await kv.get(key)
                assert entry is not None
                latest = int(entry.value)
                assert latest >= number

        await gather_or_cancel(*(count() for _ in range(CALLERS)))
        assert (await kv.increment(key, 0)).value == CALLERS * ROUNDS
