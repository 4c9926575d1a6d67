"""Batches that mix up their items."""

from __future__ import annotations

from collections.abc import Sequence

from prism.ports import Entry, PrismError, Put, Version
from tests.selftest.faults.fault import Fault


class BatchesReorder(Fault):
    caught_by = "test_get_many_answers_in_request_order"

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        return await super().get_many(sorted(keys))


class BatchesDropTheTtl(Fault):
    caught_by = "test_each_item_has_its_own_ttl"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await super().set_many([Put(put.key, put.value) for put in puts])


class BatchesLookBeforeTheyDelete(Fault):
    caught_by = "test_a_key_deleted_twice_existed_once"

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        existed = [await self.exists(key) for key in keys]
        await super().delete_many(keys)
        return [*existed]


class TheFirstOfTwoWins(Fault):
    caught_by = "test_a_key_set_twice_keeps_the_last"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        outcomes = await super().set_many(list(reversed(puts)))
        return outcomes[::-1]
