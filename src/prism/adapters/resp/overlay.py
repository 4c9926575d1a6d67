"""What a transaction sees: the backend's keys, under the writes that it has collected."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from prism.adapters.resp.arguments import now_ms
from prism.adapters.resp.errors import CommandError, KeyChanged
from prism.adapters.resp.updates import ATTEMPTS, pause
from prism.domain.validation import check_key, check_ttl, check_value
from prism.kit import add_to_counter, version_conflict
from prism.ports import (
    Condition,
    ConditionFailed,
    Count,
    Delete,
    Entry,
    Exhausted,
    Lifetime,
    Page,
    Persisted,
    PrismError,
    Profile,
    Put,
    Version,
)

if TYPE_CHECKING:
    from prism.adapters.resp.session import Backend

Result = TypeVar("Result")

_MILLISECOND = timedelta(milliseconds=1)

_MOST_HELD_BYTES = 16 << 20
"""Keys and values that one transaction may hold until it is written."""


@dataclass(slots=True)
class _Key:
    """A key as the transaction sees it.

    Attributes:
        read: what the backend has, if that was read.
        was_read: whether it was.
        now: what the transaction sees; None: no such key.
        ends_ms: when that expires by the clock of this process, in milliseconds since the Unix
            epoch: the clock of the backend, by which entries say it, may be another.
        changed: whether the transaction writes it.
    """

    now: Entry | None
    ends_ms: int | None = None
    read: Entry | None = None
    was_read: bool = False
    changed: bool = False


class Overlay:
    """Key-value ports over a gateway, whose writes take effect together with `commit`.

    A key is read from the backend once. What was read is a condition of the commit, so the
    whole transaction happens at one moment.
    """

    def __init__(self, gateway: Backend) -> None:
        self._gateway = gateway
        self._keys: dict[str, _Key] = {}
        self._loading = asyncio.Lock()
        self._versions = 0
        self._held_bytes = 0

    @property
    def profile(self) -> Profile:
        """Profile of the gateway."""
        return self._gateway.profile

    def describe(self) -> Profile:
        """Return the profile; raises NotServing before the driver was started."""
        return self._gateway.describe()

    async def commit(self, watched: Sequence[Condition] = ()) -> None:
        """Write all that was collected, if what was read and watched is unchanged.

        Raises:
            ConditionFailed: something has changed; its `index` counts from the watched keys.
        """
        names = {condition.key for condition in watched}
        conditions = [*watched]
        writes: list[Put | Delete] = []
        for key, state in self._keys.items():
            if state.was_read and key not in names:
                conditions.append(Condition.unchanged(key, state.read))
            if not state.changed:
                continue
            lifetime = _lifetime_of(state)
            if state.now is None or lifetime is None:
                if not state.was_read or state.read is not None:
                    writes.append(Delete(key))
            else:
                writes.append(Put(key, state.now.value, lifetime.remaining))
        if conditions or writes:
            await self._gateway.apply(conditions, writes)

    async def get(self, key: str) -> Entry | None:
        state = await self._state_of(key)
        return None if _lifetime_of(state) is None else state.now

    async def exists(self, key: str) -> bool:
        return await self.get(key) is not None

    async def set(self, key: str, value: bytes, *, ttl: timedelta | None = None) -> Version:
        check_key(key)
        check_value(value, self.profile.limits.max_value_bytes)
        expires_at_ms = None
        if ttl is not None:
            check_ttl(ttl)
            expires_at_ms = now_ms() + -(-ttl // _MILLISECOND)
        self._versions += 1
        # No version of a backend is below zero.
        entry = Entry(value, Version(-self._versions), expires_at_ms)
        self._write(key, entry)
        return entry.version

    async def delete(self, key: str) -> bool:
        existed = await self.exists(key)
        if existed:
            self._write(key, None)
        return existed

    async def expire(self, key: str, ttl: timedelta) -> bool:
        check_ttl(ttl)
        entry = await self.get(key)
        if entry is None:
            return False
        await self.set(key, entry.value, ttl=ttl)
        return True

    async def ttl(self, key: str) -> Lifetime | None:
        return _lifetime_of(await self._state_of(key))

    async def persist(self, key: str) -> Persisted:
        entry = await self.get(key)
        if entry is None:
            return Persisted.NO_KEY
        if entry.expires_at_ms is None:
            return Persisted.NO_EXPIRY
        await self.set(key, entry.value)
        return Persisted.EXPIRY_REMOVED

    async def compare_and_set(
        self, key: str, value: bytes, *, expected: Version | None, ttl: timedelta | None = None
    ) -> Version:
        await self._check(key, expected)
        return await self.set(key, value, ttl=ttl)

    async def compare_and_delete(self, key: str, *, expected: Version) -> None:
        await self._check(key, expected)
        self._write(key, None)

    async def get_many(self, keys: Sequence[str]) -> list[Entry | PrismError | None]:
        return [await self.get(key) for key in keys]

    async def set_many(self, puts: Sequence[Put]) -> list[Version | PrismError]:
        return [await self.set(put.key, put.value, ttl=put.ttl) for put in puts]

    async def delete_many(self, keys: Sequence[str]) -> list[bool | PrismError]:
        return [await self.delete(key) for key in keys]

    async def increment(self, key: str, delta: int = 1) -> Count:
        state = await self._state_of(key)
        lifetime = _lifetime_of(state)
        present = None if lifetime is None or state.now is None else state.now.value
        number = add_to_counter(present, delta)
        ttl = None if lifetime is None else lifetime.remaining
        return Count(number, await self.set(key, b"%d" % number, ttl=ttl))

    async def scan(
        self, prefix: str = "", *, page_size: int = 0, page_token: str = "", values: bool = False
    ) -> Page:
        raise CommandError("ERR a transaction of Prism cannot look through all keys")

    async def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Put | Delete]
    ) -> list[Version | bool]:
        """Add to this transaction; the conditions are those on keys that it has read."""
        for condition in conditions:
            await self.get(condition.key)
        results: list[Version | bool] = []
        for write in writes:
            if isinstance(write, Put):
                results.append(await self.set(write.key, write.value, ttl=write.ttl))
            else:
                results.append(await self.delete(write.key))
        return results

    async def _state_of(self, key: str) -> _Key:
        check_key(key)
        state = self._keys.get(key)
        if state is None:
            async with self._loading:
                state = self._keys.get(key) or await self._load(key)
        return state

    async def _load(self, key: str) -> _Key:
        entry, ends_ms = await self._gateway.get(key), None
        if entry is not None and entry.expires_at_ms is not None:
            lifetime = await self._gateway.ttl(key)
            if lifetime is None:
                entry = None
            elif lifetime.remaining is not None:
                ends_ms = now_ms() + -(-lifetime.remaining // _MILLISECOND)
        state = self._keys[key] = _Key(entry, ends_ms, entry, was_read=True)
        self._hold(len(key) + (0 if entry is None else len(entry.value)))
        return state

    def _write(self, key: str, entry: Entry | None) -> None:
        state = self._keys.get(key)
        size = 0 if entry is None else len(entry.value)
        ends_ms = None if entry is None else entry.expires_at_ms
        if state is None:
            self._keys[key] = _Key(entry, ends_ms, changed=True)
            size += len(key)
        else:
            if state.changed and state.now is not None:
                size -= len(state.now.value)
            state.now, state.ends_ms, state.changed = entry, ends_ms, True
        self._hold(size)

    def _hold(self, size: int) -> None:
        """Count the bytes of a key and values; raises Exhausted if all are too many."""
        most = self.profile.limits.max_batch_items
        if len(self._keys) > most:
            raise Exhausted(
                f"the transaction reads and writes more than {most:,} keys: use fewer in one; "
                "nothing was written"
            )
        self._held_bytes += size
        if self._held_bytes > _MOST_HELD_BYTES:
            raise Exhausted(
                f"the keys and values that the transaction reads and writes have more than "
                f"{_MOST_HELD_BYTES:,} bytes together: use fewer in one; nothing was written"
            )

    async def _check(self, key: str, expected: Version | None) -> None:
        entry = await self.get(key)
        if (None if entry is None else entry.version) != expected:
            raise version_conflict(expected)


def _lifetime_of(state: _Key) -> Lifetime | None:
    if state.now is None:
        return None
    if state.ends_ms is None:
        return Lifetime()
    left_ms = state.ends_ms - now_ms()
    return Lifetime(left_ms * _MILLISECOND) if left_ms > 0 else None


async def transact(
    gateway: Backend,
    run: Callable[[Overlay], Awaitable[Result]],
    watched: Sequence[Condition] = (),
) -> Result | None:
    """Run commands on an overlay and commit it; repeat that while others change what they read.

    Returns:
        What `run` returned; None: a watched key has changed, and nothing was written.
    """
    for attempt in range(ATTEMPTS):
        overlay = Overlay(gateway)
        result = await run(overlay)
        try:
            await overlay.commit(watched)
        except ConditionFailed as failure:
            if failure.index < len(watched):
                return None
            await pause(attempt)
        else:
            return result
    raise KeyChanged(
        f"the keys were changed by others {ATTEMPTS} times while this was about to write them: "
        "try again; nothing was written"
    )
