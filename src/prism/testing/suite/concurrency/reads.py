"""Category 2: concurrent reads."""

from __future__ import annotations

import random

from prism.ports import FullKeyValue
from prism.testing.suite.group import Group, group
from prism.testing.suite.workload import gather_bounded

READERS = 300


@group()
class ConcurrentReads(Group):
    """Many readers, each of whom gets the answer to its own question."""

    async def test_many_readers_of_one_key_see_the_same(self, kv: FullKeyValue, key: str) -> None:
        version = await kv.set(key, b"value")
        entries = await gather_bounded(kv.get(key) for _ in range(READERS))
        assert {(entry.value, entry.version) for entry in entries if entry} == {(b"value", version)}
        assert None not in entries

    async def test_reads_fanned_out_over_many_keys_are_not_mixed_up(
        self, kv: FullKeyValue, prefix: str
    ) -> None:
        # Of all sizes, so that answers overtake one another where they can.
        sizes = [0, 1, 100, 10_000, 100_000]
        stored = {
            f"{prefix}{number}": random.Random(number).randbytes(sizes[number % len(sizes)])
            for number in range(25)
        }
        await gather_bounded(kv.set(key, value) for key, value in stored.items())
        asked = random.Random(prefix).choices([*stored, f"{prefix}absent"], k=READERS)
        entries = await gather_bounded(kv.get(key) for key in asked)
        wrong = [
            key
            for key, entry in zip(asked, entries, strict=True)
            if (entry.value if entry else None) != stored.get(key)
        ]
        assert wrong == []

    async def test_different_reads_at_once_agree(self, kv: FullKeyValue, prefix: str) -> None:
        keys = [f"{prefix}{number}" for number in range(50)]
        await gather_bounded(kv.set(key, b"value") for key in keys[::2])

        async def both(key: str) -> tuple[bool, bool]:
            return await kv.exists(key), await kv.get(key) is not None

        seen = await gather_bounded(both(key) for key in keys)
        assert seen == [(True, True), (False, False)] * 25
