"""What is kept, and what it takes: synchronous, for the event loop is the lock."""

from __future__ import annotations

import math
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta

from prism.adapters.memstore.index import KeyIndex
from prism.adapters.memstore.settings import MemstoreSettings
from prism.adapters.memstore.shard import SHARDS, VERSION_BITS, VERSION_MASK, Shard
from prism.adapters.memstore.watchers import Watchers
from prism.adapters.memstore.wheel import Wheel
from prism.ports import Change, Entry, Exhausted, Version

SWEPT_KEYS = 64
"""Between two looks at the time: some 0.1 ms of work."""

_MILLISECOND = timedelta(milliseconds=1)
_entry = tuple.__new__


class Store:
    """Keys with their values, versions and deadlines, within the limits.

    Deadlines are milliseconds since the Unix epoch by a clock that never steps.

    Attributes:
        keys: held, among them expired ones that no sweep has reached yet.
        bytes: of these keys and their values.
        expired: keys that were dropped because their time was over.
        index: of these keys, and of expired ones that were dropped a moment ago.
        watchers: are told of every change.
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
        # Dicts of expired keys, because the garbage collector looks into lists and tuples.
        self._unindexed: deque[dict[str, None]] = deque()
        self._wheel = Wheel(now_ms, self._deadline_of)
        self._shards = [Shard() for _ in range(SHARDS)]
        # Random, so that a token of another life is refused; a bit is left to count up.
        self._version = secrets.randbits(VERSION_BITS - 1) | 1

    @property
    def expiring(self) -> int:
        """Keys that have a ttl."""
        return len(self._wheel)

    def read(self, key: str) -> Entry | None:
        """The live entry."""
        shard = self._shards[hash(key) % SHARDS]
        value = shard.values.get(key)
        if value is None:
            return None
        # tuple.__new__, because Entry(...) takes three times as long.
        stamp = shard.stamps[key]
        if stamp <= VERSION_MASK:
            return _entry(Entry, (value, stamp, None))
        deadline = stamp >> VERSION_BITS
        if deadline <= self._now_ms():
            return None
        return _entry(Entry, (value, stamp & VERSION_MASK, deadline))

    def write(self, key: str, value: bytes, deadline_ms: int | None) -> Version:
        """Put the value under the key, whatever it held.

        Raises:
            Exhausted: no room even without what has expired; nothing changed.
        """
        if self._limited:
            self._admit(key, value)
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
            self.watchers.tell(Change.PUT, key, value, Version(self._version))
        return Version(self._version)

    def remove(self, key: str) -> None:
        """Drop a key that is held, live or expired."""
        stamp = self._shards[hash(key) % SHARDS].stamps[key]
        if stamp > VERSION_MASK:
            self._wheel.remove(key, stamp >> VERSION_BITS)
        self._drop(key)
        self.index.discard(key)
        if self.watchers.any:
            self.watchers.tell(Change.DELETE, key)

    def expire(self, key: str, deadline_ms: int | None) -> None:
        """Give a key that is held another deadline, or none."""
        stamps = self._shards[hash(key) % SHARDS].stamps
        stamp = stamps[key]
        if stamp > VERSION_MASK:
            self._wheel.remove(key, stamp >> VERSION_BITS)
        stamps[key] = stamp & VERSION_MASK | (deadline_ms or 0) << VERSION_BITS
        if deadline_ms is not None:
            self._wheel.add(key, deadline_ms)

    def deadline(self, ttl: timedelta) -> int:
        """The end of a ttl that begins now: both rounded up, for it must not end early."""
        return math.ceil(self._now_ms() + -(-ttl // _MILLISECOND))

    def remaining(self, deadline_ms: int) -> timedelta:
        """Until the deadline of a live key, never zero."""
        return max(1, int(deadline_ms - self._now_ms())) * _MILLISECOND

    def sweep(self, budget_seconds: float) -> bool:
        """Drop expired keys for about so long; True when there is more to do at once."""
        end = time.perf_counter() + budget_seconds
        while time.perf_counter() < end:
            if self._wheel.behind():
                self._drop_due(self._wheel.take_due(SWEPT_KEYS))
            elif self._unindexed:
                self._tidy_index(self._unindexed.popleft())
            else:
                return False
        return True

    def dismantle(self) -> Iterator[None]:
        """Release the memory in small steps; unusable from the first one on."""
        for shard in self._shards:
            shard.values.clear()
            yield
            shard.stamps.clear()
            yield
        yield from self._wheel.dismantle()
        yield from self.index.dismantle()
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
            # A dict keeps its room when keys leave it, unless it is told to.
            shard.values.clear()
            shard.stamps.clear()

    def _drop_due(self, due: list[str]) -> None:
        """Drop keys that the wheel gave up.

        They leave the index later, when nothing else is due: that takes as long as
        all the rest, and holds no value and no room against the limits.
        """
        for key in due:
            self._drop(key)
            if self.watchers.any:
                self.watchers.tell(Change.EXPIRE, key)
        self.expired += len(due)
        if due:
            self._unindexed.append(dict.fromkeys(due))

    def _tidy_index(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key not in self._shards[hash(key) % SHARDS].values:
                self.index.discard(key)

    def _deadline_of(self, key: str) -> int:
        return self._shards[hash(key) % SHARDS].stamps[key] >> VERSION_BITS

    def _admit(self, key: str, value: bytes) -> None:
        """Make sure of room for a write, at the cost of what has expired."""
        values = self._shards[hash(key) % SHARDS].values
        while True:
            old = values.get(key)
            fits = old is not None or self.keys < self._max_keys
            growth = len(value) + _size(key) if old is None else len(value) - len(old)
            if fits and (growth <= 0 or self.bytes + growth <= self._max_bytes):
                return
            if self._reclaim():
                continue
            if not fits:
                raise Exhausted(
                    f"the memstore holds {self.keys} keys and max_keys is {self._max_keys}:"
                    " delete some, or raise the setting max_keys"
                )
            raise Exhausted(
                f"the memstore holds {self.bytes} bytes, this write needs {growth} more and"
                f" max_bytes is {self._max_bytes}: delete some keys, or raise the setting max_bytes"
            )

    def _reclaim(self) -> bool:
        """Drop some expired keys that no sweep has reached; False when there are none."""
        due: list[str] = []
        while not due and self._wheel.behind():
            due = self._wheel.take_due(SWEPT_KEYS)
        due = due or self._wheel.take_due_at_once(SWEPT_KEYS)
        self._drop_due(due)
        return bool(due)


def _size(key: str) -> int:
    return len(key) if key.isascii() else len(key.encode())
