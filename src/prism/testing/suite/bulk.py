"""Group Basic: large values, and many of them."""

from __future__ import annotations

import random
import re

import pytest

from prism.ports import FullKeyValue, InvalidArgument, Outcome
from prism.testing.suite.backend import Backend
from prism.testing.suite.group import Group, group
from prism.testing.suite.workload import gather_bounded


@group()
class Bulk(Group):
    """Large values, and many of them."""

    async def test_a_value_at_the_limit(self, backend: Backend, key: str) -> None:
        value = random.Random(1).randbytes(backend.profile.limits.max_value_bytes)
        await backend.kv.set(key, value)
        entry = await backend.kv.get(key)
        await backend.kv.delete(key)
        assert entry is not None
        assert entry.value == value

    async def test_the_limit_on_values_is_a_mebibyte_at_least(self, backend: Backend) -> None:
        assert backend.profile.limits.max_value_bytes >= 1 << 20

    async def test_a_value_over_the_limit_is_refused_and_names_it(
        self, backend: Backend, key: str
    ) -> None:
        limit = backend.profile.limits.max_value_bytes
        with pytest.raises(InvalidArgument) as refusal:
            await backend.kv.set(key, bytes(limit + 1))
        assert str(limit) in re.sub(r"[,_ ]", "", refusal.value.message)
        assert refusal.value.outcome is Outcome.NOT_APPLIED

    async def test_a_value_over_the_limit_changes_nothing(self, backend: Backend, key: str) -> None:
        before = await backend.kv.set(key, b"value")
        with pytest.raises(InvalidArgument):
            await backend.kv.set(key, bytes(backend.profile.limits.max_value_bytes + 1))
        entry = await backend.kv.get(key)
        assert entry is not None
        assert (entry.value, entry.version) == (b"value", before)

    async def test_random_data_over_random_keys(self, kv: FullKeyValue, prefix: str) -> None:
        chance = random.Random(2)
        alphabet = [chr(point) for point in (*range(0x20), *range(0x30, 0x50), 0xE9, 0x1F511)]
        stored = {
            prefix + "".join(chance.choices(alphabet, k=chance.randint(1, 24))): chance.randbytes(
                chance.choice([0, 1, 16, 255, 4096])
            )
            for _ in range(200)
        }
        await gather_bounded(kv.set(key, value) for key, value in stored.items())
        entries = await gather_bounded(kv.get(key) for key in stored)
        found = {key: entry and entry.value for key, entry in zip(stored, entries, strict=True)}
        assert found == stored

    async def test_many_keys_keep_their_values_apart(self, kv: FullKeyValue, prefix: str) -> None:
        keys = [f"{prefix}{number}" for number in range(1000)]
        await gather_bounded(kv.set(key, key.encode()) for key in keys)
        entries = await gather_bounded(kv.get(key) for key in keys)
        wrong = [
            key
            for key, entry in zip(keys, entries, strict=True)
            if entry is None or entry.value != key.encode()
        ]
        assert wrong == []

    async def test_rapid_operations_on_one_key_take_effect_in_order(
        self, kv: FullKeyValue, key: str
    ) -> None:
        for turn in range(100):
            value = b"%d" % turn
            version = await kv.set(key, value)
            entry = await kv.get(key)
            assert entry is not None
            assert (entry.value, entry.version) == (value, version)
            if turn % 3 == 0:
                assert await kv.delete(key) is True
                assert await kv.exists(key) is False
