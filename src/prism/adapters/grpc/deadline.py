"""Deadline of a call, without cost for a call that never waits."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from prism.ports import BackendTimeout

Result = TypeVar("Result")


async def within(seconds: float | None, work: Coroutine[Any, Any, Result]) -> Result:
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
