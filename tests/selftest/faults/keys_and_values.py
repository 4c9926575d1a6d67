"""Drivers that change a key, a prefix or a value on its way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from prism.ports import Entry, Page, PrismError, Put, Version
from tests.selftest.faults.fault import Fault

_CHUNK = 100_000


class LeadingSpacesAreStripped(Fault):
    caught_by = "test_keys_that_differ_at_their_ends_are_different"

    async def get(self, key: str) -> Entry | None:
        return await self.inner.get(key.lstrip(" "))

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return await self.inner.set(key.lstrip(" "), value, ttl=ttl)


class BatchesStripByteOrderMarks(Fault):
    caught_by = "test_keys_that_look_alike_are_different_in_one_batch"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await self.inner.set_many(
            [put._replace(key=put.key.lstrip("\ufeff")) for put in puts]
        )

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        return await self.inner.get_many([key.lstrip("\ufeff") for key in keys])


class BackslashesArePatterns(Fault):
    """Does not escape a backslash in the pattern that it makes of a prefix."""

    caught_by = "test_every_text_is_a_prefix"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        return Page((), () if values else None, "") if "b\\" in prefix else page


class NothingFollowsTheLastCodePoint(Fault):
    """Scans up to the prefix with its last character counted up."""

    caught_by = "test_every_text_is_a_prefix"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        if prefix.endswith("\U0010ffff"):
            return Page((), () if values else None, "")
        return await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )


class ConditionalWritesAreCut(Fault):
    caught_by = "test_every_write_and_every_read_keeps_the_value_byte_for_byte"

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        return await self.inner.compare_and_set(key, value[: 1 << 17], expected=expected, ttl=ttl)


class BatchesStripLineEnds(Fault):
    caught_by = "test_every_write_and_every_read_keeps_the_value_byte_for_byte"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return await self.inner.set_many(
            [put._replace(value=put.value.rstrip(b"\n")) for put in puts]
        )


class AWholeNumberOfChunksLosesTheLast(Fault):
    """Reads chunks until one is not full, and drops that one."""

    caught_by = "test_every_write_and_every_read_keeps_the_value_byte_for_byte"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        if page.entries is None:
            return page
        entries = [
            each._replace(value=each.value[:-_CHUNK])
            if each.value and len(each.value) % _CHUNK == 0
            else each
            for each in page.entries
        ]
        return replace(page, entries=entries)
