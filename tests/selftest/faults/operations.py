"""Drivers with one defect in an operation: values, ttls, conditions, batches, scans, counters."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from prism.ports import (
    Count,
    Driver,
    Entry,
    Exhausted,
    Page,
    Persisted,
    PreconditionFailed,
    PrismError,
    Put,
    Version,
    VersionConflict,
)
from tests.selftest.faults.fault import Fault


class EmptyValueBecomesAbsent(Fault):
    caught_by = "test_an_empty_value_is_a_value"

    async def get(self, key: str) -> Entry | None:
        entry = await self.inner.get(key)
        return entry if entry and entry.value else None


class DeleteLeavesTheKey(Fault):
    caught_by = "test_a_deleted_key_is_absent"

    async def delete(self, key: str) -> bool:
        return await self.inner.exists(key)


class ExistsMatchesPrefixes(Fault):
    caught_by = "test_a_prefix_of_a_key_does_not_exist"

    async def exists(self, key: str) -> bool:
        return bool((await self.inner.scan(key, page_size=1)).keys)


class KeysAreNormalized(Fault):
    caught_by = "test_keys_that_look_alike_are_different"

    async def get(self, key: str) -> Entry | None:
        return await self.inner.get(unicodedata.normalize("NFC", key))

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self.inner.set(unicodedata.normalize("NFC", key), value, ttl=ttl)


class ValuesAreCutAtTheLimit(Fault):
    caught_by = "test_a_value_at_the_limit_is_stored"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self.inner.set(key, value[: self.profile.limits.max_value_bytes - 1], ttl=ttl)


class ValuesEndAtANul(Fault):
    caught_by = "test_values_are_kept_byte_for_byte"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self.inner.set(key, value.rstrip(b"\x00"), ttl=ttl)


class DeleteAlwaysFindsTheKey(Fault):
    caught_by = "test_one_of_many_concurrent_deletes_finds_the_key"

    async def delete(self, key: str) -> bool:
        existed = await self.inner.exists(key)
        await asyncio.sleep(0)
        await self.inner.delete(key)
        return existed


class SetDropsTheTtl(Fault):
    caught_by = "test_ttl_returns_the_remaining_time"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self.inner.set(key, value)


class SetKeepsAnEarlierTtl(Fault):
    caught_by = "test_set_without_ttl_removes_an_earlier_one"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        lifetime = await self.inner.ttl(key)
        earlier = None if lifetime is None else lifetime.remaining
        return await self.inner.set(key, value, ttl=ttl or earlier)


class KeysExpireEarly(Fault):
    caught_by = "test_a_key_expires_at_its_ttl_and_not_before"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self.inner.set(key, value, ttl=ttl and ttl * 0.8)


class ExpiredKeysAreReturned(Fault):
    caught_by = "test_an_expired_key_can_be_set_again"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self.inner.set(key, value, ttl=ttl and ttl + timedelta(seconds=10))


class PersistDoesNothing(Fault):
    caught_by = "test_persist_removes_a_ttl"

    async def persist(self, key: str) -> Persisted:
        lifetime = await self.inner.ttl(key)
        if lifetime is None:
            return Persisted.NO_KEY
        return Persisted.EXPIRY_REMOVED if lifetime.remaining else Persisted.NO_EXPIRY


class ExpireCountsWholeSeconds(Fault):
    caught_by = "test_a_ttl_from_every_write_is_exact"

    async def expire(self, key: str, ttl: timedelta) -> bool:
        whole = timedelta(seconds=int(ttl.total_seconds()))
        if not whole:
            return await self.inner.delete(key)
        return await self.inner.expire(key, whole)


class ExpireOnlyShortens(Fault):
    caught_by = "test_expire_can_extend_a_ttl"

    async def expire(self, key: str, ttl: timedelta) -> bool:
        lifetime = await self.inner.ttl(key)
        if lifetime is not None and lifetime.remaining is not None and lifetime.remaining < ttl:
            return True
        return await self.inner.expire(key, ttl)


class AThousandthIsLost(Fault):
    caught_by = "test_the_smallest_ttl_is_rounded_up_not_to_zero"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        # Rounded down to zero, which this backend takes for none.
        rounded = ttl and timedelta(milliseconds=ttl // timedelta(milliseconds=1))
        return await self.inner.set(key, value, ttl=rounded or None)


class CompareAndSetAlwaysWins(Fault):
    caught_by = "test_an_outdated_version_conflicts"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await self.inner.set(key, value, ttl=ttl)


class CompareAndSetRaces(Fault):
    caught_by = "test_one_of_many_writers_wins_a_version"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        entry = await self.inner.get(key)
        await asyncio.sleep(0)
        if (entry and entry.version) != expected:
            raise VersionConflict("the version is another")
        return await self.inner.set(key, value, ttl=ttl)


class VersionZeroMeansAbsent(Fault):
    caught_by = "test_any_version_of_an_absent_key_conflicts"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await self.inner.compare_and_set(key, value, expected=expected or None, ttl=ttl)


class LosersChangeTheTtl(Fault):
    caught_by = "test_a_conflict_leaves_the_ttl_unchanged"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        if ttl is not None:
            await self.inner.expire(key, ttl)
        return await self.inner.compare_and_set(key, value, expected=expected, ttl=ttl)


class LosersWriteFirst(Fault):
    caught_by = "test_a_conflict_changes_nothing"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        entry = await self.inner.get(key)
        version = await self.inner.set(key, value, ttl=ttl)
        if (entry and entry.version) != expected:
            raise VersionConflict("the version is another")
        return version


class BatchesReorder(Fault):
    caught_by = "test_get_many_returns_outcomes_in_request_order"

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        return await self.inner.get_many(sorted(keys))


class BatchesDropTheTtl(Fault):
    caught_by = "test_each_item_has_its_own_ttl"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await self.inner.set_many([Put(put.key, put.value) for put in puts])


class BatchesLookBeforeTheyDelete(Fault):
    caught_by = "test_a_key_deleted_twice_in_a_batch_existed_once"

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        existed = [await self.inner.exists(key) for key in keys]
        await self.inner.delete_many(keys)
        return [*existed]


class TheFirstOfTwoWins(Fault):
    caught_by = "test_a_key_set_twice_keeps_the_last_value"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        outcomes = await self.inner.set_many(list(reversed(puts)))
        return outcomes[::-1]


class PrefixesBleed(Fault):
    caught_by = "test_scan_returns_no_key_outside_the_prefix"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await self.inner.scan(
            prefix[:-1], page_size=page_size, page_token=page_token, values=values
        )


class ScansSkipAtPageEnds(Fault):
    caught_by = "test_all_pages_together_contain_every_key"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        if not page.next_token:
            return page
        return Page(page.keys[:-1], page.entries and page.entries[:-1], page.next_token)


class ScansEndWhereAKeyIsGone(Fault):
    caught_by = "test_a_scan_continues_after_the_last_key_of_a_page_is_deleted"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._ended_at: dict[str, list[str]] = {}

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        if page_token:
            last = next(iter(self._ended_at.get(page_token, [])), None)
            if last is not None and not await self.inner.exists(last):
                return Page((), () if values else None, "")
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        if page.next_token:
            self._ended_at[page.next_token] = list(page.keys[-1:])
        return page


class IncrementsAreLost(Fault):
    caught_by = "test_no_increment_is_lost_under_contention"

    async def increment(self, key: str, delta: int = 1) -> Count:
        entry = await self.inner.get(key)
        await asyncio.sleep(0)
        count = await self.inner.increment(key, delta)
        if entry is None or count.value == int(entry.value) + delta:
            return count
        number = int(entry.value) + delta
        return Count(number, await self.inner.set(key, b"%d" % number))


class IncrementDropsTheTtl(Fault):
    caught_by = "test_increment_keeps_the_ttl"

    async def increment(self, key: str, delta: int = 1) -> Count:
        count = await self.inner.increment(key, delta)
        await self.inner.persist(key)
        return count


class NumbersOverflow(Fault):
    caught_by = "test_an_overflow_is_refused"

    async def increment(self, key: str, delta: int = 1) -> Count:
        try:
            return await self.inner.increment(key, delta)
        except PreconditionFailed as refusal:
            if refusal.reason != "OVERFLOW":
                raise
            return Count(0, await self.inner.set(key, b"0"))


class AnythingCountsAsZero(Fault):
    caught_by = "test_increment_of_a_non_canonical_number_is_refused"

    async def increment(self, key: str, delta: int = 1) -> Count:
        try:
            return await self.inner.increment(key, delta)
        except PreconditionFailed as refusal:
            if refusal.reason != "NOT_AN_INTEGER":
                raise
            return Count(delta, await self.inner.set(key, b"%d" % delta))


class NothingFitsAfterAValueThatDoesNot(Fault):
    """Ends a reply at the first value that does not fit, and fails what comes after it."""

    caught_by = "test_items_that_exceed_the_reply_can_be_requested_again"

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        outcomes = await self.inner.get_many(keys)
        is_full = False
        for at, outcome in enumerate(outcomes):
            is_full = is_full or isinstance(outcome, Exhausted)
            if is_full:
                outcomes[at] = Exhausted("the reply is full")
        return outcomes
