"""Expiry: a timing wheel that orders keys by deadline, and a timer that drops expired keys.

The wheel is a hierarchical timing wheel (Varghese and Lauck, 1987) of two levels. Near
deadlines are in slots of 64 ms. Far deadlines are in slots of 65 s, which move to near slots
when their time comes. Adding and removing a key costs the same at any number of keys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prism.adapters.memstore.store import Store

NEAR_SHIFT = 6
FAR_SHIFT = 16

_PARTS = 64

SWEEP_INTERVAL_SECONDS = 0.1

SLICE_SECONDS = 0.001
"""How long a sweep may hold the event loop."""

MAX_WATCHED_SLICE_SECONDS = 0.01
"""The same while a watch waits for expiries: a slice then lasts as long as everything else on
the loop took since the last slice, up to this bound. A busy loop thus cannot delay the events
without limit."""

# A dict instead of a set: the garbage collector visits each member of a set.
_Part = dict[str, None]


class _WheelLevel:
    """One level of the timing wheel: keys in slots of 2**shift milliseconds.

    Each slot is divided into parts, because one dict of a million keys would pause to grow.
    Keys of one part belong to few shards, so that dropping them finds the shards in the
    processor's cache.
    """

    def __init__(self, shift: int, shards: int) -> None:
        self._shift = shift
        self._shards = shards
        self._slots: dict[int, dict[int, _Part]] = {}

    def __bool__(self) -> bool:
        return bool(self._slots)

    def __contains__(self, slot: int) -> bool:
        return slot in self._slots

    def add(self, key: str, deadline_ms: int) -> None:
        slot = deadline_ms >> self._shift
        parts = self._slots.get(slot)
        if parts is None:
            parts = self._slots[slot] = {}
        number = hash(key) % self._shards % _PARTS
        part = parts.get(number)
        if part is None:
            parts[number] = {key: None}
        else:
            part[key] = None

    def discard(self, key: str, deadline_ms: int) -> bool:
        """Remove a key; return False when it is not in this level."""
        slot = deadline_ms >> self._shift
        number = hash(key) % self._shards % _PARTS
        parts = self._slots.get(slot)
        part = parts and parts.get(number)
        if not parts or not part or key not in part:
            return False
        del part[key]
        self._remove_if_empty(slot, parts, number, part)
        return True

    def take(self, slot: int, limit: int) -> list[str]:
        """Remove and return at most `limit` keys of a slot; none only when the slot is empty."""
        parts = self._slots.get(slot)
        if parts is None:
            return []
        number, part = next(iter(parts.items()))
        keys = [part.popitem()[0] for _ in range(min(limit, len(part)))]
        self._remove_if_empty(slot, parts, number, part)
        return keys

    def keys(self, slot: int) -> Iterator[str]:
        """Iterate over the keys of a slot, which must not change meanwhile."""
        for part in self._slots.get(slot, {}).values():
            yield from part

    def clear_in_steps(self) -> Iterator[None]:
        """Release the memory, one part a step."""
        while self._slots:
            _, parts = self._slots.popitem()
            while parts:
                parts.popitem()
                yield

    def _remove_if_empty(
        self, slot: int, parts: dict[int, _Part], number: int, part: _Part
    ) -> None:
        if not part:
            del parts[number]
            if not parts:
                del self._slots[slot]


class TimingWheel:
    """Keys ordered by deadline, in whole milliseconds of the clock `now_ms`.

    A key is in the wheel at most once: to change its deadline, remove it first.

    Args:
        now_ms: clock; never goes back.
        deadline_of: returns the deadline of a key in the wheel, so that the wheel need not
            store it a second time.
        shards: number of shards of the store.
    """

    def __init__(
        self, now_ms: Callable[[], float], deadline_of: Callable[[str], int], shards: int
    ) -> None:
        self._now_ms = now_ms
        self._deadline_of = deadline_of
        self._near = _WheelLevel(NEAR_SHIFT, shards)
        self._far = _WheelLevel(FAR_SHIFT, shards)
        self._count = 0
        # Near slot to be taken next.
        self._next: int
        # First far slot that has not moved to near slots yet.
        self._window: int
        self._rewind()

    def __len__(self) -> int:
        return self._count

    def add(self, key: str, deadline_ms: int) -> None:
        """Add a key that is not in the wheel, with a deadline in the future."""
        if not self._count:
            self._rewind()
        self._count += 1
        level = self._near if deadline_ms >> FAR_SHIFT < self._window else self._far
        level.add(key, deadline_ms)

    def remove(self, key: str, deadline_ms: int) -> None:
        """Remove a key that is in the wheel with this deadline."""
        # A key with a near deadline may still be in a far slot that is about to move.
        if self._near.discard(key, deadline_ms) or self._far.discard(key, deadline_ms):
            self._count -= 1

    def take_due(self, limit: int) -> list[str]:
        """Remove and return keys that are due, at most 64 ms after their deadline.

        The amount of work is bounded by `limit`.

        Returns:
            At most `limit` keys; possibly none while `behind` is still true.
        """
        if not self._count:
            self._rewind()
        due: list[str] = []
        now = self._now()
        work = limit
        while work > 0:
            if keys := self._far.take(self._window - 1, work):
                for key in keys:
                    self._near.add(key, self._deadline_of(key))
            elif self._next == self._window_begin():
                self._window += 1
            elif self._next >= now:
                break
            elif keys := self._near.take(self._next, work):
                due += keys
            elif self._near:
                self._next += 1
            else:
                self._next = min(now, self._window_begin())
            work -= len(keys) or 1
        self._count -= len(due)
        return due

    def take_due_now(self, limit: int) -> list[str]:
        """Remove and return up to `limit` keys that became due in the current 64 ms.

        Looks at every key of that slot. For a write that would be refused otherwise.
        """
        now_ms = self._now_ms()
        late = (key for key in self._near.keys(self._now()) if self._deadline_of(key) <= now_ms)
        due = list(islice(late, limit))
        for key in due:
            self._near.discard(key, self._deadline_of(key))
        self._count -= len(due)
        return due

    def behind(self) -> bool:
        """Return whether `take_due` has work to do now."""
        return self._count > 0 and (
            self._next < self._now()
            or self._next == self._window_begin()
            or self._window - 1 in self._far
        )

    def clear_in_steps(self) -> Iterator[None]:
        """Release the memory in small steps."""
        yield from self._near.clear_in_steps()
        yield from self._far.clear_in_steps()

    def _now(self) -> int:
        """Return the near slot of the present, whose time is not over yet."""
        return int(self._now_ms()) >> NEAR_SHIFT

    def _window_begin(self) -> int:
        """Return the first near slot whose keys are still in a far slot."""
        return self._window << FAR_SHIFT - NEAR_SHIFT

    def _rewind(self) -> None:
        """Begin at the present. Only an empty wheel may skip time."""
        self._next = self._now()
        self._window = (self._next >> FAR_SHIFT - NEAR_SHIFT) + 1


class Sweeper:
    """Timer that drops expired keys in short slices, and rests while no key has a ttl."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._timer: asyncio.Handle | None = None
        self._paused_at: float | None = None

    def wake(self) -> None:
        """Schedule a sweep, because a key gets a deadline; no effect when one is scheduled."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(SWEEP_INTERVAL_SECONDS, self._sweep)

    def stop(self) -> None:
        """Cancel the scheduled sweep."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        if self._store.sweep(self._slice_seconds()):
            self._paused_at = time.perf_counter()
            self._timer = asyncio.get_running_loop().call_soon(self._sweep)
            return
        self._paused_at = None
        if self._store.expiring:
            self.wake()

    def _slice_seconds(self) -> float:
        if self._paused_at is None or not self._store.watchers.any:
            return SLICE_SECONDS
        others_seconds = time.perf_counter() - self._paused_at
        return min(max(others_seconds, SLICE_SECONDS), MAX_WATCHED_SLICE_SECONDS)
