"""Timeouts for many short waits, checked at intervals.

A timer for each wait would cost more than the wait, and hardly ever fire.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

_PERIOD_S = 0.1


class CoarseTimeouts:
    """Timeouts that are late by up to 0.1 seconds.

        with timeouts.limit(5):
            await something()

    A wait that takes too long is cancelled, and the block raises TimeoutError.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limits: set[_Limit] = set()
        self._checking = False

    def __len__(self) -> int:
        """Return the number of waits in progress."""
        return len(self._limits)

    def limit(self, seconds: float | None) -> _Limit:
        """Return a context manager around a wait; None: without limit."""
        return _Limit(self, seconds)

    def _begin(self, limit: _Limit) -> float:
        self._limits.add(limit)
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if not self._checking:
            self._checking = True
            self._loop.call_later(_PERIOD_S, self._check)
        return self._loop.time()

    def _end(self, limit: _Limit) -> None:
        self._limits.discard(limit)

    def _check(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        for limit in tuple(self._limits):
            limit.check(now)
        self._checking = bool(self._limits)
        if self._checking:
            self._loop.call_later(_PERIOD_S, self._check)


class _Limit:
    """One wait of the current task."""

    __slots__ = ("_deadline", "_expired", "_owner", "_seconds", "_task")

    def __init__(self, owner: CoarseTimeouts, seconds: float | None) -> None:
        self._owner = owner
        self._seconds = seconds
        self._deadline: float | None = None
        self._expired = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        now = self._owner._begin(self)
        if self._seconds is not None:
            self._deadline = now + self._seconds

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._owner._end(self)
        task, self._task = self._task, None
        # Others may have cancelled the task as well: then it stays cancelled.
        if (
            self._expired
            and task is not None
            and task.uncancel() == 0
            and kind is asyncio.CancelledError
        ):
            raise TimeoutError from None

    def check(self, now: float) -> None:
        """Cancel the wait if it takes too long."""
        if self._deadline is not None and self._deadline <= now and not self._expired:
            self._expired = True
            if self._task is not None:
                self._task.cancel()
