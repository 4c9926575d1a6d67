"""The ports, on top of a store.

No operation awaits anything, so that each is atomic: the event loop is the lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from prism.adapters.memstore.health import CLOSED, health_of
from prism.adapters.memstore.pages import page
from prism.adapters.memstore.profile import profile_of
from prism.adapters.memstore.settings import MemstoreSettings
from prism.adapters.memstore.store import Store
from prism.adapters.memstore.sweeper import SLICE_SECONDS, Sweeper
from prism.kit import ReplyBudget, add_to_counter, closed
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Count,
    DrainReport,
    Entry,
    Event,
    Exhausted,
    Health,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
    VersionConflict,
)

_CLOSED = closed("the memstore")


class Memstore:
    """A key-value store in the memory of this process.

    It serves from `initialize` to `stop`; what is refused before `start` and during
    a drain is refused in front of it.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Do nothing yet.

        Args:
            clock: seconds, never going back; what expires does so by it.
        """
        self._clock = clock
        self._epoch_ms = int((time.time() - clock()) * 1000)
        self._settings = MemstoreSettings()
        self._profile = profile_of(self._settings)
        self._store: Store = _CLOSED
        self._sweeper: Sweeper = _CLOSED

    @property
    def profile(self) -> Profile:
        """Everything native, and the limit on values as it is set."""
        return self._profile

    async def get(self, key: str) -> Entry | None:
        return self._store.read(key)

    async def exists(self, key: str) -> bool:
        return self._store.read(key) is not None

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        return self._store.write(key, value, None if ttl is None else self._deadline(ttl))

    async def delete(self, key: str) -> bool:
        return self._delete(key)

    async def expire(self, key: str, ttl: timedelta) -> bool:
        if self._store.read(key) is None:
            return False
        self._store.expire(key, self._deadline(ttl))
        return True

    async def ttl(self, key: str) -> Lifetime | None:
        entry = self._store.read(key)
        if entry is None:
            return None
        if entry.expires_at_ms is None:
            return Lifetime()
        return Lifetime(self._store.remaining(entry.expires_at_ms))

    async def persist(self, key: str) -> Persisted:
        entry = self._store.read(key)
        if entry is None:
            return Persisted.NO_KEY
        if entry.expires_at_ms is None:
            return Persisted.NO_EXPIRY
        self._store.expire(key, None)
        return Persisted.EXPIRY_REMOVED

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        entry = self._store.read(key)
        if (None if entry is None else entry.version) != expected:
            raise VersionConflict(_conflict(expected))
        return self._store.write(key, value, None if ttl is None else self._deadline(ttl))

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        entry = self._store.read(key)
        if entry is None or entry.version != expected:
            raise VersionConflict(_conflict(expected))
        self._store.remove(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        budget = ReplyBudget(self._profile.limits.max_batch_bytes)
        return budget.limit(map(self._store.read, keys))

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        store = self._store
        outcomes: list[Version | PrismError] = []
        for put in puts:
            deadline_ms = None if put.ttl is None else self._deadline(put.ttl)
            try:
                outcomes.append(store.write(put.key, put.value, deadline_ms))
            except Exhausted as refusal:
                outcomes.append(refusal)
        return outcomes

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return [self._delete(key) for key in keys]

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        return page(
            self._store,
            self._profile.limits,
            prefix=prefix,
            page_size=page_size,
            page_token=page_token,
            values=values,
        )

    async def increment(self, key: str, delta: int = 1) -> Count:
        entry = self._store.read(key)
        stored, expires_at_ms = (
            (None, None) if entry is None else (entry.value, entry.expires_at_ms)
        )
        number = add_to_counter(stored, delta)
        return Count(number, self._store.write(key, b"%d" % number, expires_at_ms))

    @asynccontextmanager
    async def watch(self, prefix: str = "") -> AsyncIterator[AsyncIterator[Event]]:
        with self._store.watchers.watching(prefix) as events:
            yield events

    async def initialize(self, settings: MemstoreSettings) -> None:
        self._settings = settings
        self._profile = profile_of(settings)
        self._store = Store(settings, self._now_ms)
        self._sweeper = Sweeper(self._store)

    async def start(self) -> None:
        pass

    async def drain(self, timeout: timedelta = DRAIN_TIMEOUT) -> DrainReport:
        return DrainReport()

    async def stop(self, timeout: timedelta = STOP_TIMEOUT) -> None:
        store, sweeper = self._store, self._sweeper
        if store is _CLOSED:
            return
        self._store = self._sweeper = _CLOSED
        sweeper.stop()
        store.watchers.close()
        pause_at = time.perf_counter() + SLICE_SECONDS
        for _ in store.dismantle():
            if time.perf_counter() >= pause_at:
                await asyncio.sleep(0)
                pause_at = time.perf_counter() + SLICE_SECONDS

    async def health(self) -> Health:
        return CLOSED if self._store is _CLOSED else health_of(self._store, self._settings)

    def _now_ms(self) -> float:
        return self._clock() * 1000 + self._epoch_ms

    def _deadline(self, ttl: timedelta) -> int:
        self._sweeper.wake()
        return self._store.deadline(ttl)

    def _delete(self, key: str) -> bool:
        if self._store.read(key) is None:
            return False
        self._store.remove(key)
        return True


def _conflict(expected: Version | None) -> str:
    if expected is None:
        return "the key exists, and was to be written only if absent"
    return "the key is absent, or has another version than the one expected"
