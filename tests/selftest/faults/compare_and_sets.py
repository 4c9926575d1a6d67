"""Conditions that do not hold."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from prism.ports import Version, VersionConflict
from tests.selftest.faults.fault import Fault


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


class LosersWriteFirst(Fault):
    caught_by = "test_a_loser_changes_nothing"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        entry = await self.get(key)
        version = await self.set(key, value, ttl=ttl)
        if (entry and entry.version) != expected:
            raise VersionConflict("the version is another")
        return version
