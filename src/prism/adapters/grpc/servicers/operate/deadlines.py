"""The deadlines of many operations, watched over with few timers."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from prism.adapters.grpc.servicers.operate.operation import Operation

_STEP_S = 0.005


class _Step(NamedTuple):
    """Operations whose deadlines are within one step of time."""

    operations: set[Operation]
    timer: asyncio.TimerHandle


class Deadlines:
    """Cancels the tasks of operations that are overdue, up to a step late.

    A timer for each costs as much as all else about waiting for its answer, and hardly
    any of them ever fires.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._steps: dict[int, _Step] = {}

    def watch(self, operation: Operation) -> None:
        """Begin to, from now on; it runs."""
        number = int((self._loop.time() + operation.timeout_s) / _STEP_S) + 1
        operation.deadline_step = number
        step = self._steps.get(number)
        if step is None:
            timer = self._loop.call_at(number * _STEP_S, self._expire, number)
            step = self._steps[number] = _Step(set(), timer)
        step.operations.add(operation)

    def forget(self, operation: Operation) -> None:
        """It has ended."""
        step = self._steps.get(operation.deadline_step)
        if step is not None:
            step.operations.discard(operation)

    def close(self) -> None:
        """Watch over nothing any longer."""
        for step in self._steps.values():
            step.timer.cancel()
        self._steps.clear()

    def _expire(self, number: int) -> None:
        for operation in self._steps.pop(number).operations:
            operation.overdue = True
            if operation.task is not None:
                operation.task.cancel()
