"""Stored data: keys with their values, versions and deadlines, within the limits.

Every method is synchronous, so the event loop serves as the lock.
"""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import timedelta

from prism.adapters.memstore.expiry import TimingWheel
from prism.adapters.memstore.scan import KeyIndex
from prism.adapters.memstore.settings import MemstoreSettings
from prism.kit import Watchers
from prism.ports import Change, Entry, Exhausted, Version
from prism.ports.text import counted

SHARDS = 251
"""One dict of a million keys pauses for 38 to 94 ms to grow. A prime number: the keys of one
shard must not agree in the low bits of their hash, by which the shard's dict finds them."""

VERSION_BITS = 60
"""An int of up to 60 bits takes 32 bytes, a longer one 48."""

VERSION_MASK = (1 << VERSION_BITS) - 1

SWEEP_BATCH = 64
"""Number of keys that a sweep drops between two looks at the time: about 0.1 ms of work."""

_MILLISECOND = timedelta(milliseconds=1)
# Entry(...) takes three times as long.
_entry = tuple.__new__


class _Shard:
    """Values by key, and a stamp for each: the version, and above it the deadline, if any.

    One dict of tuples would be slower: each new tuple makes the garbage collector walk the
    whole dict, 57 ms at a million keys. It does not look into a dict of bytes or ints.
    """

    __slots__ = ("stamps", "values")

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.stamps: dict[str, int] = {}


class Store:
    """Keys with their values, versions and deadlines, within the limits.

    Deadlines are milliseconds since the Unix epoch, by a clock that never goes back.

    Attributes:
        keys: number of stored keys, including expired keys that no sweep has dropped yet.
        bytes: size of these keys and their values.
        expired: number of keys dropped because they expired.
        index: these keys in order, and possibly keys that a sweep has just dropped.
        watchers: open watches, which are notified of every change.
    """

    def __init__(self, settings: MemstoreSettings, now_ms: Callable[[], float]) -> None:
        self.keys = 0
        self.bytes = 0
        self.expired = 0
        self.index = KeyIndex()
        self.watchers = Watchers()
        self._now_ms = now_ms
        self._max_keys = settings.max_keys or math.inf
        self._max_bytes = settings.max_bytes or math.inf
        self._limited = bool(settings.max_keys or settings.max_bytes)
        # Dropped keys that are still in the index. Dicts, because the garbage collector does
        # not look into them, as it does into lists and tuples.
        self._unindexed: deque[dict[str, None]] = deque()
        self._wheel = TimingWheel(now_ms, self._deadline_of, SHARDS)
        self._shards = [_Shard() for _ in range(SHARDS)]
        # Random, so that a version of an earlier process is refused. One bit is left to count.
        self._version = secrets.randbits(VERSION_BITS - 1) | 1

    @property
    def expiring(self) -> int:
        """Number of keys that have a deadline."""
        return len(self._wheel)

    def read(self, key: str) -> Entry | None:
        """Return the entry of a key, or None when the key is absent or expired."""
        shard = self._shards[hash(key) % SHARDS]
        value = shard.values.get(key)
        if value is None:
            return None
        stamp = shard.stamps[key]
        if stamp <= VERSION_MASK:
            return _entry(Entry, (value, stamp, None))
        deadline = stamp >> VERSION_BITS
        if deadline <= self._now_ms():
            return None
        return _entry(Entry, (value, stamp & VERSION_MASK, deadline))

    def write(self, key: str, value: bytes, deadline_ms: int | None) -> Version:
        """Store a value, with a deadline or without one; return its version.

        Raises:
            Exhausted: the value exceeds a limit even after dropping expired keys; nothing
                changed.
        """
        if self._limited:
            self._make_room(key, value)
        shard = self._shards[hash(key) % SHARDS]
        old = shard.values.get(key)
        if old is None:
            self.index.add(key)
            self.keys += 1
            self.bytes += _size(key) + len(value)
        else:
            self.bytes += len(value) - len(old)
            stamp = shard.stamps[key]
            if stamp > VERSION_MASK:
                self._wheel.remove(key, stamp >> VERSION_BITS)
        self._version = stamp = self._version + 1
        if deadline_ms is not None:
            stamp |= deadline_ms << VERSION_BITS
        shard.values[key] = value
        shard.stamps[key] = stamp
        if deadline_ms is not None:
            self._wheel.add(key, deadline_ms)
        if self.watchers.any:
            self.watchers.notify(Change.PUT, key, value, Version(self._version))
        return Version(self._version)

    def version(self, key: str) -> Version | None:
        """Return the version of a key, or None when the key is absent or expired."""
        entry = self.read(key)
        return None if entry is None else entry.version

    def write_together(
        self, writes: Sequence[tuple[str, bytes | None, int | None]]
    ) -> list[Version | bool]:
        """Write several keys, each at most once: all or none.

        Args:
            writes: key, value and deadline of each; without a value the key is deleted.

        Returns:
            For each write, in order: its version, or whether the deleted key existed.

        Raises:
            Exhausted: the values exceed a limit even after dropping expired keys; nothing
                changed.
        """
        order: Sequence[int] = range(len(writes))
        if self._limited and writes:
            self._make_room_together(writes)
            # Writes that free room come first, so that none exceeds a limit on the way.
            order = sorted(order, key=lambda index: self._growth(*writes[index][:2]))
        results: list[Version | bool] = [False] * len(writes)
        for index in order:
            key, value, deadline_ms = writes[index]
            if value is not None:
                results[index] = self.write(key, value, deadline_ms)
            elif self.read(key) is not None:
                self.remove(key)
                results[index] = True
        return results

    def remove(self, key: str) -> None:
        """Delete a stored key; it may be expired."""
        stamp = self._shards[hash(key) % SHARDS].stamps[key]
        if stamp > VERSION_MASK:
            self._wheel.remove(key, stamp >> VERSION_BITS)
        self._drop(key)
        self.index.discard(key)
        if self.watchers.any:
            self.watchers.notify(Change.DELETE, key)

    def expire(self, key: str, deadline_ms: int | None) -> None:
        """Change the deadline of a stored key; None: remove it."""
        stamps = self._shards[hash(key) % SHARDS].stamps
        stamp = stamps[key]
        if stamp > VERSION_MASK:
            self._wheel.remove(key, stamp >> VERSION_BITS)
        stamps[key] = stamp & VERSION_MASK | (deadline_ms or 0) << VERSION_BITS
        if deadline_ms is not None:
            self._wheel.add(key, deadline_ms)

    def deadline(self, ttl: timedelta) -> int:
        """Return when a ttl that starts now ends; rounded up, so that it never ends early."""
        return math.ceil(self._now_ms() + -(-ttl // _MILLISECOND))

    def remaining(self, deadline_ms: int) -> timedelta:
        """Return the time until a deadline in the future; at least 1 ms."""
        return max(1, int(deadline_ms - self._now_ms())) * _MILLISECOND

    def sweep(self, slice_seconds: float) -> bool:
        """Drop expired keys for about `slice_seconds`; return whether there is more to do."""
        end = time.perf_counter() + slice_seconds
        while time.perf_counter() < end:
            if self._wheel.behind():
                self._drop_due(self._wheel.take_due(SWEEP_BATCH))
            elif self._unindexed:
                self._remove_from_index(self._unindexed.popleft())
            else:
                return False
        return True

    def clear_in_steps(self) -> Iterator[None]:
        """Release the memory in small steps; the store cannot be used after the first step."""
        for shard in self._shards:
            shard.values.clear()
            yield
            shard.stamps.clear()
            yield
        yield from self._wheel.clear_in_steps()
        yield from self.index.clear_in_steps()
        while self._unindexed:
            self._unindexed.popleft()
            yield

    def _drop(self, key: str) -> None:
        shard = self._shards[hash(key) % SHARDS]
        value = shard.values.pop(key)
        del shard.stamps[key]
        self.keys -= 1
        self.bytes -= _size(key) + len(value)
        if not shard.values:
            # A dict keeps its memory when keys are removed; clear() releases it.
            shard.values.clear()
            shard.stamps.clear()

    def _drop_due(self, due: list[str]) -> None:
        """Drop keys that the wheel returned.

        They are removed from the index later, when nothing else is due: that takes as long as
        dropping them, and frees neither values nor anything that counts against the limits.
        """
        for key in due:
            self._drop(key)
            if self.watchers.any:
                self.watchers.notify(Change.EXPIRE, key)
        self.expired += len(due)
        if due:
            self._unindexed.append(dict.fromkeys(due))

    def _remove_from_index(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key not in self._shards[hash(key) % SHARDS].values:
                self.index.discard(key)

    def _deadline_of(self, key: str) -> int:
        return self._shards[hash(key) % SHARDS].stamps[key] >> VERSION_BITS

    def _make_room(self, key: str, value: bytes) -> None:
        """Check the limits before a write; drop expired keys where that is necessary."""
        values = self._shards[hash(key) % SHARDS].values
        while True:
            old = values.get(key)
            fits = old is not None or self.keys < self._max_keys
            growth = len(value) + _size(key) if old is None else len(value) - len(old)
            if fits and (growth <= 0 or self.bytes + growth <= self._max_bytes):
                return
            if self._drop_some_expired():
                continue
            if not fits:
                raise Exhausted(
                    f"the memstore holds {counted(self.keys, 'key')} and max_keys is"
                    f" {self._max_keys}: delete some keys, or raise the setting max_keys"
                )
            raise Exhausted(
                f"the memstore holds {self.bytes} bytes, this write needs {growth} more and"
                f" max_bytes is {self._max_bytes}: delete some keys, or raise the setting max_bytes"
            )

    def _make_room_together(self, writes: Sequence[tuple[str, bytes | None, int | None]]) -> None:
        """Check the limits before writes; drop expired keys where that is necessary."""
        while True:
            growths = [self._growth(key, value) for key, value, _ in writes]
            more_keys, more_bytes = (sum(each) for each in zip(*growths, strict=True))
            fits = more_keys <= 0 or self.keys + more_keys <= self._max_keys
            if fits and (more_bytes <= 0 or self.bytes + more_bytes <= self._max_bytes):
                return
            if self._drop_some_expired():
                continue
            raise Exhausted(
                f"the memstore holds {counted(self.keys, 'key')} and {self.bytes} bytes, these"
                f" writes need {more_keys} keys and {more_bytes} bytes more, max_keys is"
                f" {self._max_keys} and max_bytes is {self._max_bytes}: delete some keys, or raise"
                " the setting"
            )

    def _growth(self, key: str, value: bytes | None) -> tuple[int, int]:
        """Return how many more keys and bytes a write stores; None: a delete."""
        old = self._shards[hash(key) % SHARDS].values.get(key)
        keys, size = 0, 0
        if old is not None:
            keys, size = -1, -_size(key) - len(old)
        if value is not None:
            keys, size = keys + 1, size + _size(key) + len(value)
        return keys, size

    def _drop_some_expired(self) -> bool:
        """Drop some expired keys that no sweep has dropped yet; return False if there are none."""
        due: list[str] = []
        while not due and self._wheel.behind():
            due = self._wheel.take_due(SWEEP_BATCH)
        due = due or self._wheel.take_due_now(SWEEP_BATCH)
        self._drop_due(due)
        return bool(due)


def _size(key: str) -> int:
    return len(key) if key.isascii() else len(key.encode())
