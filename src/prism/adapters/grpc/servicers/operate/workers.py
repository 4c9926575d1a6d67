"""Tasks for operations: one for many that do not wait, one for each that does."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from prism.adapters.grpc.servicers.operate.operation import Operation


class Workers:
    """Runs what it is offered, each at once.

    A task costs about as much as an operation of the embedded store, which ends
    without waiting. So a task takes one operation after the other; when one makes it
    wait, each of the others gets a task of its own in the next turn of the loop, and
    from then on without that delay, until operations end without waiting again. An
    operation is always stepped by the task that it finds itself in, so timeouts and
    cancelling are asyncio's own.

    Args:
        run: runs an operation and raises nothing.
    """

    def __init__(self, run: Callable[[Operation], Awaitable[None]]) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        self._ready: deque[Operation] = deque()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._running = 0
        self._waiting_seen = False
        self._checking = False
        self._closed = False

    def offer(self, operation: Operation) -> None:
        """To be run once `staff` is called."""
        if not self._closed:
            self._ready.append(operation)

    def staff(self, *, free: int = 0) -> None:
        """See that nothing offered waits for anything else.

        Args:
            free: tasks that will take something before they wait.
        """
        wanted = len(self._ready) - free
        if wanted <= 0:
            return
        if self._waiting_seen:
            while self._starting < wanted:
                self._start()
            return
        if not self._starting and not free:
            self._start()
        if not self._checking:
            self._checking = True
            # Its turn comes after the first step of what was just started.
            self._loop.call_soon(self._check)

    def close(self) -> None:
        """Cancel what runs, and run nothing more."""
        self._closed = True
        self._ready.clear()
        for task in self._tasks:
            task.cancel()

    def _start(self) -> None:
        self._starting += 1
        task = self._loop.create_task(self._work())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _check(self) -> None:
        self._checking = False
        if self._ready:
            self._waiting_seen = True
            self.staff()

    async def _work(self) -> None:
        self._starting -= 1
        ready = self._ready
        if not ready and not self._running:
            # Another task has done it all without waiting once.
            self._waiting_seen = False
        task = asyncio.current_task(self._loop)
        assert task is not None
        while ready:
            operation = ready.popleft()
            operation.task = task
            self._running += 1
            await self._run(operation)
            self._running -= 1
            if self._closed:
                return
            # What cancelled this operation is over with it.
            while task.cancelling():
                task.uncancel()
