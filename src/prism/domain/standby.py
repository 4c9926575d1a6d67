"""Tasks on standby: an operation begins in the name of one, and takes it only if it waits."""

from __future__ import annotations

import asyncio
from asyncio.tasks import _enter_task, _leave_task
from collections.abc import Awaitable
from contextvars import Context, copy_context

from prism.domain.workers import Work

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
