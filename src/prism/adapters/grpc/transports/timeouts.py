"""Timeouts for many short waits, checked at intervals.

A timer for each wait would cost more than the wait, and hardly ever fire.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

_PERIOD_S = 0.1

NEVER = float("inf")


class CoarseTimeouts:
    """Timeouts that are late by up to 0.1 seconds.

        with timeouts.limit(5):
            await something()

    A wait that takes too long is cancelled, and the block raises TimeoutError.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._limits: set[TimeLimit] = set()
        self._checking = False

    def __len__(self) -> int:
        """Return the number of waits in progress."""
        return len(self._limits)

    def limit(self, seconds: float | None) -> TimeLimit:
        """Return a context manager around waits of the current task; None: without limit."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        if not self._checking:
            self._checking = True
            loop.call_later(_PERIOD_S, self._check)
        deadline = NEVER if seconds is None else loop.time() + seconds
        return TimeLimit(self._limits, loop, deadline)

    def _check(self) -> None:
        assert self._loop is not None
        now = self._loop.time()
        for limit in tuple(self._limits):
            limit.check(now)
        self._checking = bool(self._limits)
        if self._checking:
            self._loop.call_later(_PERIOD_S, self._check)


class TimeLimit:
    """Time limit of one task.

    Attributes:
        loop: event loop of the task.
        deadline: time of the loop at which the task is cancelled; it may be changed.
    """

    __slots__ = ("_active", "_expired", "_task", "deadline", "loop")

    def __init__(
        self, active: set[TimeLimit], loop: asyncio.AbstractEventLoop, deadline: float
    ) -> None:
        self._active = active
        self.loop = loop
        self.deadline = deadline
        self._task: asyncio.Task[object] | None = None
        self._expired = False

    def __enter__(self) -> TimeLimit:  # noqa: PYI034  (Self costs an import)
        self._task = asyncio.current_task(self.loop)
        self._active.add(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._active.discard(self)
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
        """Cancel the task if the time is over."""
        if self.deadline <= now and not self._expired:
            self._expired = True
            if self._task is not None:
                self._task.cancel()
