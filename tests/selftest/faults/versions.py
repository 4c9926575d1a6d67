"""Drivers with wrong versions."""

from __future__ import annotations

import re
from datetime import timedelta

from prism.ports import Count, Version, VersionConflict
from tests.selftest.faults.fault import Fault

_HEAD = 65_536


class EveryWriteChangesAllVersions(Fault):
    """Compares with the revision of the whole store."""

    caught_by = "test_a_write_to_another_key_keeps_the_version"
    _last_key = ""

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._last_key = key
        return await self.inner.set(key, value, ttl=ttl)

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        if expected is not None and self._last_key != key:
            raise VersionConflict("wrong last sequence")
        return await self.inner.compare_and_set(key, value, expected=expected, ttl=ttl)


class EqualValuesKeepTheRevision(Fault):
    caught_by = "test_a_revision_changes_with_an_equal_value"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        entry = await self.inner.get(key)
        if ttl is None and entry is not None and entry[::2] == (value, None):
            return entry.version
        return await self.inner.set(key, value, ttl=ttl)


class ZeroIsNotWritten(Fault):
    caught_by = "test_a_delta_of_zero_writes"

    async def increment(self, key: str, delta: int = 1) -> Count:
        entry = await self.inner.get(key)
        if delta == 0 and entry is not None and re.fullmatch(rb"0|-?[1-9]\d{0,17}", entry.value):
            return Count(int(entry.value), entry.version)
        return await self.inner.increment(key, delta)


class VersionsOfTheBeginning(Fault):
    """Takes the first 64 KiB of a value for the whole."""

    caught_by = "test_the_version_changes_with_the_value"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        entry = await self.inner.get(key)
        version = await self.inner.set(key, value, ttl=ttl)
        if entry is not None and len(value) > _HEAD and entry.value[:_HEAD] == value[:_HEAD]:
            return entry.version
        return version
