"""When expired keys are dropped: on the event loop, in slices."""

from __future__ import annotations

import asyncio
import time

from prism.adapters.memstore.store import Store

INTERVAL_SECONDS = 0.1
SLICE_SECONDS = 0.001
"""Between two slices everything else on the loop gets its turn."""

WATCHED_SLICE_SECONDS = 0.01
"""At most, while somebody waits to hear of every expiry: as much as everything else
took meanwhile, so that a loaded loop cannot put the news off for ever."""


class Sweeper:
    """Sweeps a store for as long as something in it can expire, and sleeps otherwise.

    A timer and not a task, for it has nothing to wait for in the middle.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._timer: asyncio.Handle | None = None
        self._paused_at: float | None = None

    def wake(self) -> None:
        """Something is about to get a deadline."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._sweep)

    def stop(self) -> None:
        """Cancel what is scheduled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        self._timer = None
        if self._store.sweep(self._slice()):
            self._paused_at = time.perf_counter()
            self._timer = asyncio.get_running_loop().call_soon(self._sweep)
            return
        self._paused_at = None
        if self._store.expiring:
            self.wake()

    def _slice(self) -> float:
        """How long to sweep now, in seconds."""
        if self._paused_at is None or not self._store.watchers.any:
            return SLICE_SECONDS
        others = time.perf_counter() - self._paused_at
        return min(max(others, SLICE_SECONDS), WATCHED_SLICE_SECONDS)
