"""Memstore driver: implements the ports on top of the store.

No operation awaits, so each is atomic: the event loop serves as the lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

from prism.adapters.memstore.expiry import SLICE_SECONDS, Sweeper
from prism.adapters.memstore.scan import read_page
from prism.adapters.memstore.settings import NAME, MemstoreSettings, profile_of
from prism.adapters.memstore.store import Store
from prism.kit import ReplyBudget, add_to_counter, check_conditions, closed, version_conflict
from prism.ports import (
    DRAIN_TIMEOUT,
    STOP_TIMEOUT,
    Condition,
    Count,
    Delete,
    DrainReport,
    Entry,
    Event,
    Exhausted,
    Health,
    HealthStatus,
    Lifetime,
    NotServing,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
    Write,
)
from prism.ports.text import counted

DEGRADED_FROM = 0.9
"""Part of a limit from which on the health is degraded."""

_CLOSED = closed("the memstore")


class Memstore:
    """Key-value store in the memory of this process.

    It accepts operations from `initialize` to `stop`. Refusing them before `start` and during
    a drain is left to its caller.

    Args:
        clock: seconds, never going back; keys expire by it. By default the monotonic clock, so
            that a step of the wall clock expires nothing.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._epoch_ms = int((time.time() - clock()) * 1000)
        self._settings = MemstoreSettings()
        self._profile = profile_of(self._settings)
        self._store: Store = _CLOSED
        self._sweeper: Sweeper = _CLOSED

    @property
    def profile(self) -> Profile:
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
            raise version_conflict(expected)
        return self._store.write(key, value, None if ttl is None else self._deadline(ttl))

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        entry = self._store.read(key)
        if entry is None or entry.version != expected:
            raise version_conflict(expected)
        self._store.remove(key)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        # A list comprehension calls `read` faster than map() does.
        read = self._store.read
        entries = [read(key) for key in keys]
        return ReplyBudget(self._profile.limits.max_batch_bytes).limit(entries)

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
        return read_page(
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

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        store = self._store
        check_conditions(conditions, store.version)
        return store.write_together(
            [
                (write.key, None, None)
                if isinstance(write, Delete)
                else (
                    write.key,
                    write.value,
                    None if write.ttl is None else self._deadline(write.ttl),
                )
                for write in writes
            ]
        )

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
        store.watchers.end(NotServing("the memstore was stopped"))
        pause_at = time.perf_counter() + SLICE_SECONDS
        for _ in store.clear_in_steps():
            if time.perf_counter() >= pause_at:
                await asyncio.sleep(0)
                pause_at = time.perf_counter() + SLICE_SECONDS

    async def health(self) -> Health:
        if self._store is _CLOSED:
            return Health(HealthStatus.UNHEALTHY, "the memstore is not open", {"backend": NAME})
        return _health_of(self._store, self._settings)

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


def _health_of(store: Store, settings: MemstoreSettings) -> Health:
    """Return the health: degraded from 90 % of a limit on, because at the limit writes fail.

    The details `keys` and `bytes` include expired keys until a sweep drops them, a fraction of
    a second later.
    """
    details = {
        "backend": NAME,
        "keys": str(store.keys),
        "keys_with_ttl": str(store.expiring),
        "bytes": str(store.bytes),
        "expired": str(store.expired),
        "max_keys": str(settings.max_keys or "unlimited"),
        "max_bytes": str(settings.max_bytes or "unlimited"),
    }
    nearly_full = [
        f"{used} of {limit} {unit} ({name})"
        for name, unit, used, limit in (
            ("max_keys", "keys", store.keys, settings.max_keys),
            ("max_bytes", "bytes", store.bytes, settings.max_bytes),
        )
        if limit and used >= limit * DEGRADED_FROM
    ]
    if nearly_full:
        return Health(
            HealthStatus.DEGRADED,
            f"the memstore holds {' and '.join(nearly_full)}: at the limit it refuses writes",
            details,
        )
    return Health(HealthStatus.HEALTHY, f"the memstore holds {counted(store.keys, 'key')}", details)
