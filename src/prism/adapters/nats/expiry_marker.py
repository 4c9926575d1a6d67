"""Reports of expiries: an expired key that is watched gets a tombstone, which is an event.

The server removes an expired message without an event. It can leave a marker instead, but it
decides on that a moment before it writes it, and overwrites a value that was acknowledged in
between. The tombstone is conditional on the sequence of the expired message: it never replaces a
later one. Of several gateways that watch a key, one succeeds, and all receive the event.
"""

from __future__ import annotations

import asyncio
import heapq
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, TypeAlias

from prism.adapters.nats.bucket import Bucket
from prism.adapters.nats.scan import read_records
from prism.ports import AccessDenied, PrismError, VersionConflict

NoteExpiry: TypeAlias = Callable[[str, int, int | None], None]
"""Gets a key, the sequence of a message of it, and when that expires, in milliseconds since the
Unix epoch; None: it does not."""

_MARKS_AT_ONCE = 256
_RETRY_S = 0.25
_SPARE_ENTRIES = 1000
"""Outdated entries that the heap may hold besides as many as it holds valid ones."""

_logger = logging.getLogger(__name__)


class _Expiry(NamedTuple):
    """Expiry of a message; in a heap, the earliest comes first."""

    at_ms: int
    key: str
    sequence: int


class ExpiryMarker:
    """Follows the keys with an expiry under all watched prefixes, and marks them when they expire.

    Its knowledge of a key may be outdated: then the tombstone is refused, and nothing happens.
    """

    def __init__(self, bucket: Bucket) -> None:
        self._bucket = bucket
        self._prefixes: Counter[str] = Counter()
        self._loading: dict[str, asyncio.Task[None]] = {}
        self._marking: asyncio.Task[None] | None = None
        self._latest: dict[str, tuple[int, int | None]] = {}
        self._heap: list[_Expiry] = []
        self._is_earlier = asyncio.Event()
        bucket.connection.on_lost.append(lambda _: self._stop())

    @contextmanager
    def watching(self, prefix: str) -> Iterator[None]:
        """Mark the keys under the prefix that expire meanwhile.

        The caller passes every message under the prefix to `note`, from before it enters.
        """
        self._prefixes[prefix] += 1
        if self._bucket.connection.is_open:
            if self._prefixes[prefix] == 1:
                self._loading[prefix] = asyncio.create_task(self._load(prefix))
            if self._marking is None:
                self._marking = asyncio.create_task(self._mark_all())
        try:
            yield
        finally:
            self._prefixes[prefix] -= 1
            if not self._prefixes[prefix]:
                del self._prefixes[prefix]
                if loading := self._loading.pop(prefix, None):
                    loading.cancel()
            if not self._prefixes:
                self._stop()

    def note(self, key: str, sequence: int, expires_at_ms: int | None) -> None:
        """Follow a message of the key, unless a later one is known."""
        known = self._latest.get(key)
        if known is not None and known[0] >= sequence:
            return
        if expires_at_ms is not None:
            self._latest[key] = (sequence, expires_at_ms)
            self._push(_Expiry(expires_at_ms, key, sequence))
        elif self._loading:
            # Kept until no load can bring an earlier message of the key.
            self._latest[key] = (sequence, None)
        elif known is not None:
            del self._latest[key]

    async def _load(self, prefix: str) -> None:
        """Follow the keys that had an expiry before the watch began."""
        while True:
            try:
                async for key, record in read_records(self._bucket, prefix):
                    if record.expires_at_ms is not None or key in self._latest:
                        expires_at_ms = record.expires_at_ms if record.exists else None
                        self.note(key, record.sequence, expires_at_ms)
            except PrismError as error:
                _logger.debug("keys with an expiry could not be read: %s", error.message)
                await asyncio.sleep(_RETRY_S)
            else:
                break
        del self._loading[prefix]
        if not self._loading:
            self._latest = {
                key: latest for key, latest in self._latest.items() if latest[1] is not None
            }

    def _push(self, expiry: _Expiry) -> None:
        if len(self._heap) > 2 * len(self._latest) + _SPARE_ENTRIES:
            self._heap = [each for each in self._heap if self._is_latest(each)]
            heapq.heapify(self._heap)
        heapq.heappush(self._heap, expiry)
        if self._heap[0] is expiry:
            self._is_earlier.set()

    def _is_latest(self, expiry: _Expiry) -> bool:
        return self._latest.get(expiry.key) == (expiry.sequence, expiry.at_ms)

    async def _mark_all(self) -> None:
        while True:
            self._is_earlier.clear()
            if due := self._pop_due():
                await asyncio.gather(*(self._mark(expiry) for expiry in due))
                continue
            delay_s = None
            if self._heap:
                delay_s = max(self._heap[0].at_ms - self._certain_ms(), 0) / 1000 + 0.001
            try:
                async with asyncio.timeout(delay_s):
                    await self._is_earlier.wait()
            except TimeoutError:
                continue

    def _certain_ms(self) -> int:
        """Return a time that the server's clock has certainly reached."""
        clock = self._bucket.clock
        return clock.now_ms() - int(clock.error_s * 1000) - 1

    def _pop_due(self) -> list[_Expiry]:
        due: list[_Expiry] = []
        now_ms = self._certain_ms()
        while self._heap and self._heap[0].at_ms <= now_ms and len(due) < _MARKS_AT_ONCE:
            expiry = heapq.heappop(self._heap)
            if self._is_latest(expiry):
                due.append(expiry)
        return due

    async def _mark(self, expiry: _Expiry) -> None:
        try:
            try:
                await self._bucket.remove_expired(expiry.key, expected=expiry.sequence)
            except VersionConflict:
                if self._is_latest(expiry) and not (await self._bucket.read(expiry.key)).sequence:
                    # The server was faster.
                    await self._bucket.remove_expired(expiry.key, expected=0)
        except VersionConflict:
            pass
        except AccessDenied as error:
            self._bucket.interrupt(f"an expired key cannot be reported: {error.message}")
        except PrismError as error:
            _logger.debug("an expired key could not be marked: %s", error.message)
            await asyncio.sleep(_RETRY_S)
            if self._is_latest(expiry):
                self._push(expiry)
            return
        if self._is_latest(expiry):
            del self._latest[expiry.key]

    def _stop(self) -> None:
        for task in (*self._loading.values(), self._marking):
            if task is not None:
                task.cancel()
        self._loading.clear()
        self._marking = None
        self._latest.clear()
        self._heap.clear()
