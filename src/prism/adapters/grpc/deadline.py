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
    return await rest_within(seconds, work, waits_for)


async def rest_within(
    seconds: float | None, work: Coroutine[Any, Any, Result], waits_for: Any
) -> Result:
    """Await work that has taken its first step; else as `within`.

    Args:
        waits_for: what that step yielded.
    """
    try:
        async with asyncio.timeout(seconds) as bound:
            return await _rest(work, waits_for)
    except TimeoutError:
        if not bound.expired():
            raise
        raise BackendTimeout(f"no answer within the deadline of {seconds:.3g} s") from None


@types.coroutine
def _rest(work: Coroutine[Any, Any, Result], waits_for: Any) -> Generator[Any, Any, Result]:
    """What `await work` would do from here on."""
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
