"""Drivers with one defect that shows beside other writes of the same key."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

from prism.ports import Count, Driver, Entry, Lifetime, Page, Persisted, PrismError, Put, Version
from tests.selftest.faults.fault import Fault


class ExpireWritesWhatItRead(Fault):
    """Reads the value and writes it back with the ttl, without a condition."""

    caught_by = "test_no_write_is_lost_beside_a_change_of_the_ttl"

    async def expire(self, key: str, ttl: timedelta) -> bool:
        entry = await self.inner.get(key)
        if entry is None:
            return False
        await asyncio.sleep(0)
        await self.inner.set(key, entry.value, ttl=ttl)
        return True


class PersistWritesWhatItRead(Fault):
    caught_by = "test_no_increment_is_lost_beside_a_change_of_the_ttl"

    async def persist(self, key: str) -> Persisted:
        entry = await self.inner.get(key)
        if entry is None:
            return Persisted.NO_KEY
        await asyncio.sleep(0)
        await self.inner.set(key, entry.value)
        return Persisted.NO_EXPIRY if entry.expires_at_ms is None else Persisted.EXPIRY_REMOVED


class IncrementRestoresTheTtl(Fault):
    """Reads the ttl, and gives the number that ttl after it was changed."""

    caught_by = "test_no_change_of_the_ttl_is_lost_beside_increments"

    async def increment(self, key: str, delta: int = 1) -> Count:
        lifetime = await self.inner.ttl(key)
        await asyncio.sleep(0)
        count = await self.inner.increment(key, delta)
        if lifetime == Lifetime(None):
            await self.inner.persist(key)
        elif lifetime is not None and lifetime.remaining is not None:
            await self.inner.expire(key, lifetime.remaining)
        return count


class BatchesAskBeforeTheyDelete(Fault):
    """Answers of the keys of a batch whether they existed a moment before it."""

    caught_by = "test_a_history_of_every_write_is_linearizable"

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        existed = [await self.inner.exists(key) for key in dict.fromkeys(keys)]
        if len(existed) < len(keys):
            return await self.inner.delete_many(keys)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await self.inner.delete_many(keys)
        return [*existed]


class GetAsksTwice(Fault):
    """Asks for the value and for the version one after the other."""

    caught_by = "test_value_and_version_belong_together_in_every_read"

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        values = await self.inner.get_many(keys)
        await asyncio.sleep(0)
        versions = await self.inner.get_many(keys)
        return [
            value._replace(version=version.version)
            if isinstance(value, Entry) and isinstance(version, Entry)
            else value
            for value, version in zip(values, versions, strict=True)
        ]


class ScanAsksTwice(Fault):
    """Takes the keys and versions from an index, and the values afterwards."""

    caught_by = "test_value_and_version_belong_together_in_every_read"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        if page.entries is None:
            return page
        await asyncio.sleep(0)
        entries = []
        for key, entry in zip(page.keys, page.entries, strict=True):
            now = await self.inner.get(key)
            entries.append(entry if now is None else entry._replace(value=now.value))
        return Page(page.keys, entries, page.next_token)


class WritesAnswerTheVersionOfLater(Fault):
    """Asks for the version after the write, and gets that of another writer."""

    caught_by = "test_value_and_version_belong_together_in_every_read"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        version = await self.inner.set(key, value, ttl=ttl)
        await asyncio.sleep(0)
        entry = await self.inner.get(key)
        return version if entry is None else entry.version


class LargeValuesAreWrittenInParts(Fault):
    caught_by = "test_a_large_value_is_never_torn"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        if len(value) > 65_536 and ttl is None:
            entry = await self.inner.get(key)
            rest = b"" if entry is None else entry.value[65_536:]
            await self.inner.set(key, value[:65_536] + rest)
            await asyncio.sleep(0)
        return await self.inner.set(key, value, ttl=ttl)


class TwoConnectionsForOneCall(Fault):
    """Holds a connection of a bounded pool while it waits for another."""

    caught_by = "test_as_many_calls_as_are_admitted_all_finish"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._pool = asyncio.Semaphore(64)

    async def persist(self, key: str) -> Persisted:
        async with self._pool:
            await asyncio.sleep(0)
            async with self._pool:
                return await self.inner.persist(key)


class ALockForEachKeyInTheOrderOfTheCall(Fault):
    """Two batches that name keys in opposite orders wait for one another for ever."""

    caught_by = "test_calls_with_many_keys_at_once_all_finish"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        async with AsyncExitStack() as locked:
            for key in dict.fromkeys(put.key for put in puts):
                await locked.enter_async_context(self._locks[key])
                await asyncio.sleep(0)
            return await self.inner.set_many(puts)


class APoolForTheKeysOfACall(Fault):
    """Takes a connection of a bounded pool for each key of a call, one after the other."""

    caught_by = "test_calls_with_many_keys_at_once_all_finish"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._pool = asyncio.Semaphore(64)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        async with AsyncExitStack() as taken:
            for _ in keys[:32]:
                await taken.enter_async_context(self._pool)
                await asyncio.sleep(0)
            return await self.inner.get_many(keys)
