"""Tasks that run operations: few while operations end at once, one for each that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextvars import copy_context
from typing import Protocol


class Work(Protocol):
    """Source of operations for workers."""

    @property
    def backlog(self) -> int:
        """Upper bound of the number of operations that can begin."""
        ...

    def step(self, task: asyncio.Task[None]) -> Awaitable[None] | None:
        """Run operations in this task until one waits; return the rest of its work.

        None: no operation can begin. Never raises.
        """
        ...


class _NoWork:
    """Source without operations, after the end."""

    backlog = 0

    @staticmethod
    def step(task: asyncio.Task[None]) -> None:
        """Begin nothing."""


_NO_WORK = _NoWork()


class Workers:
    """Tasks that run operations: one for all that do not wait, one for each that does.

    A task costs about as much as an operation of the embedded store, which ends without
    waiting. So one task runs operations one after the other. When one waits, each of the
    others gets a task of its own in the next turn of the loop, and from then on at once,
    until operations end without waiting again. Each operation is stepped by one task
    only, so that timeouts and cancelling are asyncio's own.
    """

    def __init__(self, work: Work) -> None:
        self._source: Work = work
        self._loop = asyncio.get_running_loop()
        # Not in the context that starts a task: an outcome may arrive in that of another caller.
        self._context = copy_context()
        self._tasks: set[asyncio.Task[None]] = set()
        self._starting = 0
        self._waiting = 0
        self._waiting_seen = False
        self._checking = False
        self._closed = False

    def ensure_workers(self, *, free: int = 0) -> None:
        """Start tasks, so that no operation of the backlog waits for another.

        Args:
            free: number of running tasks that take an operation before they wait.
        """
        wanted = self._source.backlog - free
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
            # It runs after the first step of the task that was just started.
            self._loop.call_soon(self._check)

    def close(self) -> None:
        """Cancel all tasks, and start no more."""
        self._closed = True
        for task in self._tasks:
            task.cancel()
        # The source refers to this object, and tasks do: what is in no reference cycle is
        # freed at once.
        self._tasks.clear()
        self._source = _NO_WORK

    def _start(self) -> None:
        self._starting += 1
        task = self._loop.create_task(self._work(), context=self._context.copy())
        self._tasks.add(task)

    def _check(self) -> None:
        self._checking = False
        if self._source.backlog:
            self._waiting_seen = True
            self.ensure_workers()

    async def _work(self) -> None:
        self._starting -= 1
        if not self._source.backlog and not self._waiting:
            # Another task has run all operations without waiting.
            self._waiting_seen = False
        task = asyncio.current_task(self._loop)
        assert task is not None
        step = self._source.step
        while (rest := step(task)) is not None:
            self._waiting += 1
            await rest
            self._waiting -= 1
            if self._closed:
                return
            # The operation was cancelled, not the task, which takes the next one.
            while task.cancelling():
                task.uncancel()
        # Not in a done callback, which costs a step of the loop.
        self._tasks.discard(task)
