"""Deadlines of calls and operations, without cost for those that never wait."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, NamedTuple, Protocol, TypeVar

from prism.ports import BackendTimeout

Result = TypeVar("Result")

_STEP_S = 0.005


async def within(seconds: float | None, work: Coroutine[object, None, Result]) -> Result:
    """Await the work, and cancel it at the deadline.

    The first step runs before a timer is set: an operation of the embedded store ends in
    it, and a timer would cost more than the operation.

    Args:
        seconds: time until the deadline; None: unlimited.

    Raises:
        BackendTimeout: the work did not end in time.
    """
    try:
        waits_for = work.send(None)
    except StopIteration as done:
        result: Result = done.value
        return result
    try:
        async with asyncio.timeout(seconds) as bound:
            return await rest_of(work, waits_for)
    except TimeoutError:
        if not bound.expired():
            raise
        assert seconds is not None
        raise overdue(seconds) from None


def overdue(seconds: float) -> BackendTimeout:
    """Return the error of a call that took longer than this."""
    return BackendTimeout(f"no answer within the deadline of {seconds:.3g} s")


@types.coroutine
def rest_of(work: Coroutine[Any, Any, Result], waits_for: Any) -> Generator[Any, Any, Result]:
    """Await a coroutine whose first step has run already.

    Args:
        waits_for: what the first step yielded.
    """
    step: Callable[[Any], Any]
    while True:
        try:
            result_of_wait = yield waits_for
        except BaseException as error:  # a cancellation, for the work to handle
            step, argument = work.throw, error
        else:
            step, argument = work.send, result_of_wait
        try:
            waits_for = step(argument)
        except StopIteration as done:
            result: Result = done.value
            return result


class Cancellable(Protocol):
    """Work that can be cancelled, such as a task or a relayed operation."""

    def cancel(self) -> bool: ...


class Timed(Protocol):
    """Operation with a deadline.

    Attributes:
        timeout_s: seconds until its deadline.
        task: work in progress; None: there is none.
        deadline_step: step of `Deadlines` in which it expires.
        overdue: whether it was cancelled at its deadline.
    """

    timeout_s: float
    task: Cancellable | None
    deadline_step: int
    overdue: bool


class _Step(NamedTuple):
    """Operations whose deadlines lie within one step of time."""

    operations: set[Timed]
    timer: asyncio.TimerHandle


class Deadlines:
    """Cancels overdue operations, up to 5 ms late, with one timer for all of one step.

    A timer for each operation would cost as much as everything else about waiting for its
    answer, and hardly any fires.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._steps: dict[int, _Step] = {}

    def watch(self, operation: Timed) -> None:
        """Cancel the operation, which runs, in `timeout_s` seconds from now."""
        number = int((self._loop.time() + operation.timeout_s) / _STEP_S) + 1
        operation.deadline_step = number
        step = self._steps.get(number)
        if step is None:
            timer = self._loop.call_at(number * _STEP_S, self._expire, number)
            step = self._steps[number] = _Step(set(), timer)
        step.operations.add(operation)

    def forget(self, operation: Timed) -> None:
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
