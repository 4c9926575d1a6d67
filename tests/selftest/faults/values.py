"""Values and keys that are not what was stored."""

from __future__ import annotations

import asyncio
import unicodedata
from datetime import timedelta

from prism.ports import Entry, Version
from tests.selftest.faults.fault import Fault


class EmptyValueBecomesAbsent(Fault):
    caught_by = "test_an_empty_value_is_a_value"

    async def get(self, key: str) -> Entry | None:
        entry = await super().get(key)
        return entry if entry and entry.value else None


class DeleteLeavesTheKey(Fault):
    caught_by = "test_a_deleted_key_is_absent"

    async def delete(self, key: str) -> bool:
        return await self.exists(key)


class ExistsMatchesPrefixes(Fault):
    caught_by = "test_a_prefix_of_a_key_does_not_exist"

    async def exists(self, key: str) -> bool:
        return bool((await self.scan(key, page_size=1)).keys)


class KeysAreNormalized(Fault):
    caught_by = "test_keys_that_look_alike_are_different"

    async def get(self, key: str) -> Entry | None:
        return await super().get(unicodedata.normalize("NFC", key))

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(unicodedata.normalize("NFC", key), value, ttl=ttl)


class ValuesAreCutAtTheLimit(Fault):
    caught_by = "test_a_value_at_the_limit"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(key, value[: self.profile.limits.max_value_bytes - 1], ttl=ttl)


class ValuesEndAtANul(Fault):
    caught_by = "test_values_are_kept_byte_for_byte"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(key, value.rstrip(b"\x00"), ttl=ttl)


class DeleteAlwaysFindsTheKey(Fault):
    caught_by = "test_of_many_deletes_at_once_one_finds_the_key"

    async def delete(self, key: str) -> bool:
        existed = await self.exists(key)
        await asyncio.sleep(0)
        await super().delete(key)
        return existed
