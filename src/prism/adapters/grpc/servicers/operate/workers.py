"""Tasks for operations: one for many that do not wait, one for each that does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Protocol

from prism.adapters.grpc.servicers.operate.operation import Operation


class Work(Protocol):
    """Where workers find what to do."""

    @property
    def backlog(self) -> int:
        """How many operations have not begun, at most."""
        ...

    def take(self) -> Operation | None:
        """The next one that may begin."""
        ...

    def begin(self, operation: Operation) -> Awaitable[None] | None:
        """Run it as far as it goes without waiting; the rest of it, if there is any.

        Neither raises anything.
        """
        ...


class Workers:
    """Does the work, each operation at once.

    A task costs about as much as an operation of the embedded store, which ends
    without waiting. So a task takes one operation after the other; when one makes it
    wait, each of the others gets a task of its own in the next turn of the loop, and
    from then on without that delay, until operations end without waiting again. An
    operation is always stepped by the task that it finds itself in, so timeouts and
    cancelling are asyncio's own.
    """

    def __init__(self, work: Work) -> None:
        self._to_do = work
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._waiting = 0
        self._waiting_seen = False
        self._checking = False
        self._closed = False

    def staff(self, *, free: int = 0) -> None:
        """See that nothing in the backlog waits for anything else.

        Args:
            free: tasks that will take something before they wait.
        """
        wanted = self._to_do.backlog - free
        if wanted <= 0 or self._closed:
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
        for task in self._tasks:
            task.cancel()

    def _start(self) -> None:
        self._starting += 1
        task = self._loop.create_task(self._work())
        self._tasks.add(task)

    def _check(self) -> None:
        self._checking = False
        if self._to_do.backlog:
            self._waiting_seen = True
            self.staff()

    async def _work(self) -> None:
        self._starting -= 1
        if not self._to_do.backlog and not self._waiting:
            # Another task has done it all without waiting once.
            self._waiting_seen = False
        task = asyncio.current_task(self._loop)
        assert task is not None
        take, begin = self._to_do.take, self._to_do.begin
        while (operation := take()) is not None:
            operation.task = task
            rest = begin(operation)
            if rest is None:
                continue
            self._waiting += 1
            await rest
            self._waiting -= 1
            if self._closed:
                return
            # What cancelled this operation is over with it.
            while task.cancelling():
                task.uncancel()
        # Here, since a callback for it costs a step of the loop.
        self._tasks.discard(task)
