"""Drivers with one defect where the declared operations meet, or at the edge of an answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from prism.ports import (
    Change,
    Count,
    Driver,
    Entry,
    Event,
    Page,
    Persisted,
    PrismError,
    Put,
    Version,
)
from tests.selftest.faults.fault import Fault


class ValuesAreBuffers(Fault):
    """Returns the buffer of its client library, which equals the bytes."""

    caught_by = "test_every_answer_has_its_type"

    async def get(self, key: str) -> Entry | None:
        entry = await self.inner.get(key)
        return entry and entry._replace(value=bytearray(entry.value))  # type: ignore[arg-type]


class DeletesAnswerNumbers(Fault):
    """Returns how many keys the server deleted."""

    caught_by = "test_every_answer_has_its_type"

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        outcomes = await self.inner.delete_many(keys)
        return [int(each) if isinstance(each, bool) else each for each in outcomes]  # type: ignore[misc]


class EmptyPagesHaveNoEntries(Fault):
    caught_by = "test_every_answer_has_its_type"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        return page if page.keys else Page((), None, page.next_token)


class ConditionalDeletesAreNotReported(Fault):
    caught_by = "test_every_kind_of_delete_is_reported"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._conditional: set[str] = set()

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        await self.inner.compare_and_delete(key, expected=expected)
        self._conditional.add(key)

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        async def others(events: AsyncIterator[Event]) -> AsyncIterator[Event]:
            async for event in events:
                if event.change is Change.DELETE and event.key in self._conditional:
                    self._conditional.discard(event.key)
                else:
                    yield event

        async with self.inner.watch(prefix) as events:
            yield others(events)


class ConditionalDeletesKeepTheTtl(Fault):
    """Has ttls in a table of their own, and forgets there what it deleted."""

    caught_by = "test_a_new_value_has_no_ttl_after_any_kind_of_delete"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._ttls: dict[str, timedelta] = {}

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        lifetime = await self.inner.ttl(key)
        await self.inner.compare_and_delete(key, expected=expected)
        if lifetime is not None and lifetime.remaining is not None:
            self._ttls[key] = lifetime.remaining

    async def increment(self, key: str, delta: int = 1) -> Count:
        count = await self.inner.increment(key, delta)
        if key in self._ttls:
            await self.inner.expire(key, self._ttls.pop(key))
        return count


class ChunksOvertakeOneAnother(Fault):
    """Sends a batch in chunks, all at once."""

    caught_by = "test_a_key_at_both_ends_of_a_full_batch_keeps_the_last_value"

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        chunks = [puts[at : at + 100] for at in range(0, len(puts), 100)]
        outcomes = [await self.inner.set_many(chunk) for chunk in reversed(chunks)]
        return [outcome for chunk in reversed(outcomes) for outcome in chunk]


class TheTtlFollowsTheValue(Fault):
    """Writes the value, and then its ttl."""

    caught_by = "test_value_and_expiry_belong_together_in_every_read"

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        if ttl is None or ttl < timedelta(minutes=1):
            return await self.inner.set(key, value, ttl=ttl)
        version = await self.inner.set(key, value)
        await asyncio.sleep(0)
        await self.inner.expire(key, ttl)
        return version


class AbsentKeysAreCached(Fault):
    """Remembers which keys are absent, until a set of this driver."""

    caught_by = "test_every_read_shows_every_write"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._absent: set[str] = set()

    async def exists(self, key: str) -> bool:
        if key in self._absent:
            return False
        exists = await self.inner.exists(key)
        if not exists:
            self._absent.add(key)
        return exists

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        self._absent.discard(key)
        return await self.inner.set(key, value, ttl=ttl)

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        self._absent.discard(key)
        return await self.inner.compare_and_set(key, value, expected=expected, ttl=ttl)

    async def increment(self, key: str, delta: int = 1) -> Count:
        self._absent.discard(key)
        return await self.inner.increment(key, delta)


class PagesAreInAnotherOrderThanTokens(Fault):
    """Sorts by UTF-16, and continues after a key by code points: keys between are skipped."""

    caught_by = "test_unusual_keys_are_returned_by_pages_of_every_size"

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        if page.next_token and len(page.keys) <= 3 and any(key > "\uffff" for key in page.keys):
            return Page(page.keys, page.entries, "")
        if page.next_token and page.keys and any("\uffff" in key for key in page.keys):
            return Page(page.keys, page.entries, "")
        return page


class APersistedKeyNeverExpiresAgain(Fault):
    caught_by = "test_a_persisted_key_can_be_given_a_ttl_again"

    def __init__(self, inner: Driver[Any]) -> None:
        super().__init__(inner)
        self._persisted: set[str] = set()

    async def persist(self, key: str) -> Persisted:
        self._persisted.add(key)
        return await self.inner.persist(key)

    async def expire(self, key: str, ttl: timedelta) -> bool:
        if key in self._persisted:
            return await self.inner.exists(key)
        return await self.inner.expire(key, ttl)
