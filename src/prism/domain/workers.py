"""Tasks that run operations: few while operations end at once, one for each that waits.

`Workers` start with a turn of the loop; `Standby` begins operations where bytes arrive.
"""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable
from contextvars import Context, copy_context
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


_MOST_IDLE = 128
"""Tasks that are kept for later."""


class Standby:
    """Tasks that run operations, the first step of each at once and not in a turn of its own.

    `run` begins operations where bytes arrive, outside of any task, but in the name of a task
    on standby, and in its context: timeouts and cancelling are asyncio's own. An operation of
    the embedded store ends in its first step, and has cost no task. One that waits goes on in
    that task, which then begins operations itself or returns to the others.

    Each task has a copy of the context in which this object was made.
    """

    def __init__(self, source: Work) -> None:
        self._source = source
        self._step = source.step
        self._loop = asyncio.get_running_loop()
        self._workers: set[_Worker] = set()
        self._idle: list[_Worker] = []
        self._starting = 0
        self._context = copy_context()
        self._closed = False

    def run(self) -> None:
        """Begin operations as long as there are any; not to be called in a task."""
        idle, loop = self._idle, self._loop
        while idle:
            worker = idle[-1]
            task, run = worker.task, worker.run
            # asyncio documents these two for those who write tasks of their own.
            _enter_task(loop, task)
            try:
                rest = run(self._step, task)
            finally:
                _leave_task(loop, task)
            if rest is None:
                return
            idle.pop()
            worker.go_on(rest)
        self.start(self._source.backlog)

    def start(self, wanted: int) -> None:
        """Start tasks until this many are about to take an operation."""
        while self._starting < min(wanted, _MOST_IDLE) and not self._closed:
            self._starting += 1
            context = self._context.copy()
            worker = _Worker(context)
            worker.task = self._loop.create_task(self._work(worker), context=context)
            self._workers.add(worker)

    def close(self) -> None:
        """Cancel all tasks, and start no more."""
        self._closed = True
        for worker in self._workers:
            worker.task.cancel()

    async def _work(self, worker: _Worker) -> None:
        self._starting -= 1
        try:
            while not self._closed:
                rest = self._step(worker.task)
                if rest is not None:
                    # It may be cancelled, but not this task, which takes the next one.
                    await rest
                elif len(self._idle) < _MOST_IDLE:
                    await self._wait(worker)
                else:
                    return
                while worker.task.cancelling() and not self._closed:
                    worker.task.uncancel()
        finally:
            self._workers.discard(worker)

    async def _wait(self, worker: _Worker) -> None:
        """Wait until an operation was begun in the name of the task, and end it."""
        worker.awakened = self._loop.create_future()
        self._idle.append(worker)
        try:
            await worker.awakened
        except asyncio.CancelledError:
            if worker.rest is None:
                self._idle.remove(worker)
                raise
            # Meant for the operation, which waits from the next step on.
            worker.task.uncancel()
            self._loop.call_soon(worker.task.cancel)
        rest, worker.rest = worker.rest, None
        assert rest is not None
        await rest


class _Worker:
    """Task, and what it is to end.

    Attributes:
        run: calls a function in the context of the task.
        rest: rest of an operation that was begun in the name of the task.
        awakened: ends the wait for it.
    """

    __slots__ = ("awakened", "rest", "run", "task")

    task: asyncio.Task[None]
    awakened: asyncio.Future[None]

    def __init__(self, context: Context) -> None:
        self.run = context.run
        self.rest: Awaitable[None] | None = None

    def go_on(self, rest: Awaitable[None]) -> None:
        """End an operation whose first step was run."""
        self.rest = rest
        self.awakened.set_result(None)
