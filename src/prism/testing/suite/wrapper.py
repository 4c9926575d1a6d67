"""A driver around a driver: what gates, recorders and faults derive from."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any

from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Count,
    DrainReport,
    Driver,
    Entry,
    Event,
    Health,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
)


class DriverWrapper:
    """Passes everything on. A subclass overrides what it changes.

    It has the methods of every capability, declared or not: what is declared
    stands in the profile, and nobody may ask for more.
    """

    def __init__(self, inner: Driver[Any]) -> None:
        # Any: which capabilities it implements is not known to the type checker.
        self.inner: Any = inner

    @property
    def profile(self) -> Profile:
        profile: Profile = self.inner.profile
        return profile

    async def initialize(self, settings: Any) -> None:
        await self.inner.initialize(settings)

    async def start(self) -> None:
        await self.inner.start()

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        report: DrainReport = await self.inner.drain(timeout)
        return report

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        await self.inner.stop(timeout)

    async def health(self) -> Health:
        health: Health = await self.inner.health()
        return health

    async def get(self, key: str) -> Entry | None:
        entry: Entry | None = await self.inner.get(key)
        return entry

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        version: Version = await self.inner.set(key, value, ttl=ttl)
        return version

    async def delete(self, key: str) -> bool:
        existed: bool = await self.inner.delete(key)
        return existed

    async def exists(self, key: str) -> bool:
        exists: bool = await self.inner.exists(key)
        return exists

    async def expire(self, key: str, ttl: timedelta) -> bool:
        existed: bool = await self.inner.expire(key, ttl)
        return existed

    async def ttl(self, key: str) -> Lifetime | None:
        lifetime: Lifetime | None = await self.inner.ttl(key)
        return lifetime

    async def persist(self, key: str) -> Persisted:
        persisted: Persisted = await self.inner.persist(key)
        return persisted

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        version: Version = await self.inner.compare_and_set(key, value, expected=expected, ttl=ttl)
        return version

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        await self.inner.compare_and_delete(key, expected=expected)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        outcomes: list[Entry | PrismError | None] = await self.inner.get_many(keys)
        return outcomes

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        outcomes: list[Version | PrismError] = await self.inner.set_many(puts)
        return outcomes

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        outcomes: list[bool | PrismError] = await self.inner.delete_many(keys)
        return outcomes

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        page: Page = await self.inner.scan(
            prefix, page_size=page_size, page_token=page_token, values=values
        )
        return page

    async def increment(self, key: str, delta: int = 1) -> Count:
        count: Count = await self.inner.increment(key, delta)
        return count

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        watch: AbstractAsyncContextManager[AsyncIterator[Event]] = self.inner.watch(prefix)
        return watch


class DriverCapture:
    """The driver itself, behind everything around it."""

    driver: Any

    def capture(self, driver: Driver[Any]) -> Driver[Any]:
        """What a test gives as `wrap`."""
        self.driver = driver
        return driver
