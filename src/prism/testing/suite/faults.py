"""Drivers that are wrong in one way each, as a real one could be.

Each is a wrapper around any driver that declares everything, and names the test
that catches it: so the suite itself is tested.
"""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar

from prism.ports import (
    Count,
    Driver,
    Entry,
    Page,
    Persisted,
    PreconditionFailed,
    PrismError,
    Put,
    Version,
    VersionConflict,
)
from prism.testing.suite.backend import OpenBackend, Wrap
from prism.testing.suite.wrapper import DriverWrapper


class Fault(DriverWrapper):
    """A driver with a defect."""

    caught_by: ClassVar[str]


def with_fault(open_backend: OpenBackend, fault: type[Fault]) -> OpenBackend:
    """A factory of backends whose driver has the defect."""

    def open_faulty(*, wrap: Wrap | None = None, start: bool = True) -> Any:
        def both(driver: Driver[Any]) -> Driver[Any]:
            faulty: Driver[Any] = fault(driver)
            return faulty if wrap is None else wrap(faulty)

        return open_backend(wrap=both, start=start)

    return open_faulty


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


class SetDropsTheTtl(Fault):
    caught_by = "test_ttl_tells_the_time_remaining"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(key, value)


class SetKeepsAnEarlierTtl(Fault):
    caught_by = "test_set_without_ttl_removes_an_earlier_one"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        lifetime = await self.ttl(key)
        earlier = None if lifetime is None else lifetime.remaining
        return await super().set(key, value, ttl=ttl or earlier)


class KeysExpireEarly(Fault):
    caught_by = "test_a_key_lives_as_long_as_its_ttl"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(key, value, ttl=ttl and ttl * 0.8)


class ExpiredKeysAreReturned(Fault):
    caught_by = "test_an_expired_key_can_be_set_again"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await super().set(key, value, ttl=ttl and ttl + timedelta(seconds=10))


class PersistDoesNothing(Fault):
    caught_by = "test_persist_removes_a_ttl"

    async def persist(self, key: str) -> Persisted:
        lifetime = await self.ttl(key)
        if lifetime is None:
            return Persisted.NO_KEY
        return Persisted.EXPIRY_REMOVED if lifetime.remaining else Persisted.NO_EXPIRY


class CompareAndSetAlwaysWins(Fault):
    caught_by = "test_an_outdated_version_conflicts"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await self.set(key, value, ttl=ttl)


class CompareAndSetRaces(Fault):
    caught_by = "test_one_of_many_wins_on_a_version"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        entry = await self.get(key)
        await asyncio.sleep(0)
        if (entry and entry.version) != expected:
            raise VersionConflict("the version is another")
        return await self.set(key, value, ttl=ttl)


class VersionZeroMeansAbsent(Fault):
    caught_by = "test_any_version_of_an_absent_key_conflicts"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await super().compare_and_set(key, value, expected=expected or None, ttl=ttl)


class LosersChangeTheTtl(Fault):
    caught_by = "test_a_loser_leaves_the_ttl_as_it_was"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        if ttl is not None:
            await self.expire(key, ttl)
        return await super().compare_and_set(key, value, expected=expected, ttl=ttl)


class BatchesReorder(Fault):
    caught_by = "test_get_many_answers_in_request_order"

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        return await super().get_many(sorted(keys))


class BatchesDropTheTtl(Fault):
    caught_by = "test_each_item_has_its_own_ttl"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await super().set_many([Put(put.key, put.value) for put in puts])


class PrefixesBleed(Fault):
    caught_by = "test_scan_returns_no_key_beside_the_prefix"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return await super().scan(
            prefix[:-1], page_size=page_size, page_token=page_token, values=values
        )


class ScansSkipAtPageEnds(Fault):
    caught_by = "test_pages_together_hold_every_key"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await super().scan(prefix, page_size=page_size, page_token=page_token, values=values)
        if not page.next_token:
            return page
        return Page(page.keys[:-1], page.entries and page.entries[:-1], page.next_token)


class IncrementsAreLost(Fault):
    caught_by = "test_no_increment_is_lost_under_contention"

    async def increment(self, key: str, delta: int = 1) -> Count:
        entry = await self.get(key)
        await asyncio.sleep(0)
        count = await super().increment(key, delta)
        if entry is None or count.value == int(entry.value) + delta:
            return count
        number = int(entry.value) + delta
        return Count(number, await self.set(key, b"%d" % number))


class IncrementDropsTheTtl(Fault):
    caught_by = "test_increment_keeps_the_ttl"

    async def increment(self, key: str, delta: int = 1) -> Count:
        count = await super().increment(key, delta)
        await self.persist(key)
        return count


class NumbersOverflow(Fault):
    caught_by = "test_an_overflow_is_refused"

    async def increment(self, key: str, delta: int = 1) -> Count:
        try:
            return await super().increment(key, delta)
        except PreconditionFailed as refusal:
            if refusal.reason != "OVERFLOW":
                raise
            return Count(0, await self.set(key, b"0"))


FAULTS: tuple[type[Fault], ...] = tuple(Fault.__subclasses__())
