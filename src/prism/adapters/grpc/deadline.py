"""A bound in time that costs nothing to a call which never waits."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

from prism.ports import BackendTimeout

Result = TypeVar("Result")


async def within(seconds: float | None, work: Coroutine[Any, Any, Result]) -> Result:
    """Await the work, and cancel it when the time is over.

    Its first step is taken before a timer is set: an operation of the embedded
    store ends in it, and a timer would cost more than the operation.

    Raises:
        BackendTimeout: the time is over.
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
    """What a call fails with that has taken longer than so many seconds."""
    return BackendTimeout(f"no answer within the deadline of {seconds:.3g} s")


@types.coroutine
def rest_of(work: Coroutine[Any, Any, Result], waits_for: Any) -> Generator[Any, Any, Result]:
    """What `await work` would do from here on, after its first step.

    Args:
        waits_for: what that step yielded.
    """
    how: Callable[[Any], Any]
    while True:
        try:
            woken_with = yield waits_for
        except BaseException as error:  # a cancellation, for the work to handle
            how, waking = work.throw, error
        else:
            how, waking = work.send, woken_with
        try:
            waits_for = how(waking)
        except StopIteration as done:
            result: Result = done.value
            return result
