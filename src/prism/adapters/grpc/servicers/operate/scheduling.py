"""When operations of a stream run: in order for each key, by few tasks, within deadlines."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable
from typing import NamedTuple, Protocol

from prism.adapters.grpc.servicers.operate.operation import Operation, Route

_STEP_S = 0.005


class KeyQueues:
    """Queues of operations by route and key: operations on one key run in the order sent.

    An operation that is given up while it waits keeps its place in the queues and does
    nothing when it is due, so that those behind it still wait for those ahead of it.
    """

    def __init__(self) -> None:
        self._last: defaultdict[Route, dict[str, Operation]] = defaultdict(dict)

    def enter(self, operation: Operation) -> bool:
        """Queue the operation for each of its keys; return whether it may begin at once."""
        last = self._last[operation.route]
        ahead = []
        for key in operation.keys:
            before = last.get(key)
            last[key] = operation
            if before is not None and before is not operation:
                ahead.append(before)
        # Only now: which downstream will order an operation that begins later is unknown.
        if all(map(operation.is_ordered_behind, ahead)):
            return True
        for before in ahead:
            if before.followers is None:
                before.followers = [operation]
            else:
                before.followers.append(operation)
        operation.ahead = len(ahead)
        return False

    def leave(self, operation: Operation) -> list[Operation]:
        """Remove an operation that has ended; return those that may begin now, in order."""
        last = self._last[operation.route]
        for key in operation.keys:
            if last.get(key) is operation:
                del last[key]
        if operation.followers is None:
            return []
        ready = []
        for follower in operation.followers:
            follower.ahead -= 1
            if not follower.ahead:
                ready.append(follower)
        return ready


class Work(Protocol):
    """Source of operations for workers."""

    @property
    def backlog(self) -> int:
        """Upper bound of the number of operations that can begin."""
        ...

    def take(self) -> Operation | None:
        """Return the next operation that may begin."""
        ...

    def begin(self, operation: Operation) -> Awaitable[None] | None:
        """Run the operation until it waits; return the rest of the work, if any.

        Neither raises.
        """
        ...


class Workers:
    """Tasks that run operations: one for all that do not wait, one for each that does.

    A task costs about as much as an operation of the embedded store, which ends without
    waiting. So one task runs operations one after the other. When one waits, each of the
    others gets a task of its own in the next turn of the loop, and from then on at once,
    until operations end without waiting again. Each operation is stepped by one task
    only, so that timeouts and cancelling are asyncio's own.
    """

    def __init__(self, work: Work) -> None:
        self._source = work
        self._loop = asyncio.get_running_loop()
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

    def _start(self) -> None:
        self._starting += 1
        task = self._loop.create_task(self._work())
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
        take, begin = self._source.take, self._source.begin
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
            # The operation was cancelled, not the task, which takes the next one.
            while task.cancelling():
                task.uncancel()
        # Not in a done callback, which costs a step of the loop.
        self._tasks.discard(task)


class _Step(NamedTuple):
    """Operations whose deadlines lie within one step of time."""

    operations: set[Operation]
    timer: asyncio.TimerHandle


class Deadlines:
    """Cancels overdue operations, up to 5 ms late, with one timer for all of one step.

    A timer for each operation would cost as much as everything else about waiting for its
    answer, and hardly any fires.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._steps: dict[int, _Step] = {}

    def watch(self, operation: Operation) -> None:
        """Cancel the operation, which runs, in `timeout_s` seconds from now."""
        number = int((self._loop.time() + operation.timeout_s) / _STEP_S) + 1
        operation.deadline_step = number
        step = self._steps.get(number)
        if step is None:
            timer = self._loop.call_at(number * _STEP_S, self._expire, number)
            step = self._steps[number] = _Step(set(), timer)
        step.operations.add(operation)

    def forget(self, operation: Operation) -> None:
        """Drop an operation that has ended."""
        step = self._steps.get(operation.deadline_step)
        if step is not None:
            step.operations.discard(operation)

    def close(self) -> None:
        """Drop all operations."""
        for step in self._steps.values():
            step.timer.cancel()
        self._steps.clear()

    def _expire(self, number: int) -> None:
        for operation in self._steps.pop(number).operations:
            operation.overdue = True
            if operation.task is not None:
                operation.task.cancel()
