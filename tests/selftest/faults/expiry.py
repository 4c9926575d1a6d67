"""Drivers that expire a key only when a read finds it, and drivers with inexact ttls."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prism.ports import (
    Count,
    Driver,
    Entry,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Put,
    Version,
    VersionConflict,
)
from tests.selftest.faults.fault import Fault

_MONTH = timedelta(days=30)
_INT32_MS = timedelta(milliseconds=(1 << 31) - 1)


class _ExpiresOnRead(Fault):
    """Remembers the keys with a ttl that have not been read; a subclass finds them expired."""

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._unread: dict[str, Entry] = {}

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._unread.pop(key, None)
        version = await self.inner.set(key, value, ttl=ttl)
        if ttl is not None:
            self._unread[key] = Entry(value, version)
        return version

    async def get(self, key: str) -> Entry | None:
        self._unread.pop(key, None)
        return await self.inner.get(key)

    async def exists(self, key: str) -> bool:
        self._unread.pop(key, None)
        return await self.inner.exists(key)

    async def ttl(self, key: str) -> Lifetime | None:
        self._unread.pop(key, None)
        return await self.inner.ttl(key)

    async def delete(self, key: str) -> bool:
        self._unread.pop(key, None)
        return await self.inner.delete(key)

    async def leftover(self, key: str) -> Entry | None:
        """Return the entry of an expired key that nobody has read since."""
        entry = self._unread.pop(key, None)
        return None if await self.inner.exists(key) else entry


class DeleteFindsExpiredKeys(_ExpiresOnRead):
    caught_by = "test_delete_does_not_find_an_unread_expired_key"

    async def delete(self, key: str) -> bool:
        found = await self.leftover(key)
        return await self.inner.delete(key) or found is not None


class ExpireRevivesExpiredKeys(_ExpiresOnRead):
    caught_by = "test_expire_does_not_revive_an_unread_expired_key"

    async def expire(self, key: str, ttl: timedelta) -> bool:
        if found := await self.leftover(key):
            await self.inner.set(key, found.value)
        return await self.inner.expire(key, ttl)


class PersistRevivesExpiredKeys(_ExpiresOnRead):
    caught_by = "test_persist_does_not_revive_an_unread_expired_key"

    async def persist(self, key: str) -> Persisted:
        if found := await self.leftover(key):
            await self.inner.set(key, found.value)
            return Persisted.EXPIRY_REMOVED
        return await self.inner.persist(key)


class IncrementCountsOnAfterExpiry(_ExpiresOnRead):
    caught_by = "test_an_unread_expired_counter_starts_at_zero"

    async def increment(self, key: str, delta: int = 1) -> Count:
        if found := await self.leftover(key):
            await self.inner.set(key, found.value)
        return await self.inner.increment(key, delta)


class ExpiredKeysAreNotAbsent(_ExpiresOnRead):
    caught_by = "test_set_if_absent_writes_an_unread_expired_key"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        if expected is None and await self.leftover(key):
            raise VersionConflict("the key exists")
        return await self.inner.compare_and_set(key, value, expected=expected, ttl=ttl)


class ExpiredVersionsMatch(_ExpiresOnRead):
    caught_by = "test_the_version_of_an_unread_expired_key_conflicts"

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        found = await self.leftover(key)
        if found is None or found.version != expected:
            await self.inner.compare_and_delete(key, expected=expected)


class BatchesReadExpiredKeys(_ExpiresOnRead):
    caught_by = "test_a_batch_does_not_find_unread_expired_keys"

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        leftovers = [await self.leftover(key) for key in keys]
        return [
            entry or leftover
            for entry, leftover in zip(await self.inner.get_many(keys), leftovers, strict=True)
        ]


class ScansReturnExpiredKeys(_ExpiresOnRead):
    caught_by = "test_a_scan_does_not_return_unread_expired_keys"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        begun = [key for key in self._unread if key.startswith(prefix)]
        found = {key: entry for key in begun if (entry := await self.leftover(key))}
        entries = page.entries and (*page.entries, *found.values())
        return Page((*page.keys, *found), entries, page.next_token)


class LongTtlsAreTimestamps(Fault):
    caught_by = "test_a_ttl_of_every_size_is_kept_by_every_write"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        if ttl is not None and ttl > _MONTH:
            ttl = timedelta(milliseconds=1)
        return await self.inner.compare_and_set(key, value, expected=expected, ttl=ttl)


class ItemTtlsAreCutAtInt32(Fault):
    caught_by = "test_a_ttl_of_every_size_is_kept_by_every_write"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await self.inner.set_many(
            [put._replace(ttl=put.ttl and min(put.ttl, _INT32_MS)) for put in puts]
        )


class IncrementRenewsTheTtl(Fault):
    caught_by = "test_no_read_prolongs_a_ttl"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._ttls: dict[str, timedelta] = {}

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        if ttl is not None and ttl < timedelta(minutes=1):
            self._ttls[key] = ttl
        return await self.inner.set(key, value, ttl=ttl)

    async def increment(self, key: str, delta: int = 1) -> Count:
        count = await self.inner.increment(key, delta)
        if key in self._ttls and count.value != delta:
            await self.inner.expire(key, self._ttls[key])
        return count


class ReadsRenewTheTtl(IncrementRenewsTheTtl):
    caught_by = "test_no_read_prolongs_a_ttl"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        for key in page.keys:
            if key in self._ttls:
                await self.inner.expire(key, self._ttls[key])
        return page

    async def increment(self, key: str, delta: int = 1) -> Count:
        return await self.inner.increment(key, delta)


class TinyItemTtlsAreDropped(Fault):
    caught_by = "test_a_tiny_ttl_from_every_write_expires"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        millisecond = timedelta(milliseconds=1)
        return await self.inner.set_many(
            [
                put._replace(ttl=(put.ttl or timedelta()) // millisecond * millisecond or None)
                for put in puts
            ]
        )


class TtlDoesNotCountDown(Fault):
    caught_by = "test_ttl_counts_down"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._first: dict[str, Lifetime] = {}

    async def ttl(self, key: str) -> Lifetime | None:
        lifetime = await self.inner.ttl(key)
        if lifetime is None or lifetime.remaining is None or key not in self._first:
            if lifetime is not None:
                self._first[key] = lifetime
            return lifetime
        if abs((self._first[key].remaining or timedelta()) - lifetime.remaining) < _MONTH / 2000:
            return self._first[key]
        return lifetime


class ExpiryTimesCountFromTheStart(Fault):
    caught_by = "test_expiry_times_count_from_the_unix_epoch_in_every_read"

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        since_ms = int((time.time() - time.monotonic()) * 1000)
        return [
            entry._replace(expires_at_ms=entry.expires_at_ms - since_ms)
            if isinstance(entry, Entry) and entry.expires_at_ms
            else entry
            for entry in await self.inner.get_many(keys)
        ]


class BatchesShowTheExpiryOfTheWrite(Fault):
    """Keeps the expiry beside the value, and changes it elsewhere."""

    caught_by = "test_every_read_shows_a_change_of_the_ttl"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._written: dict[Version, int | None] = {}

    async def expire(self, key: str, ttl: timedelta) -> bool:
        entry = await self.inner.get(key)
        if entry is not None:
            self._written.setdefault(entry.version, entry.expires_at_ms)
        return await self.inner.expire(key, ttl)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        return [
            entry._replace(expires_at_ms=self._written.get(entry.version, entry.expires_at_ms))
            if isinstance(entry, Entry)
            else entry
            for entry in await self.inner.get_many(keys)
        ]


class DeleteManyLeavesTheTtl(Fault):
    caught_by = "test_delete_many_removes_the_ttl"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._left: dict[str, timedelta] = {}

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        for key in keys:
            lifetime = await self.inner.ttl(key)
            if lifetime is not None and lifetime.remaining is not None:
                self._left[key] = lifetime.remaining
        return await self.inner.delete_many(keys)

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self.inner.set(key, value, ttl=ttl or self._left.pop(key, None))
