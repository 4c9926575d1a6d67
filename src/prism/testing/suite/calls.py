"""Calls of the tests: each with a time limit, and many at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import TypeVar, cast

from prism.ports import OPERATIONS, Event, FullKeyValue
from prism.testing.suite.timing import TimeLimitExceeded, time_limit

Result = TypeVar("Result")

MAX_AT_ONCE = 100
"""Every server admits at least this many operations from one connection."""

CALL_SECONDS = 10.0
"""Limit of one call, scaled by `timeout_factor`."""

_SHOWN = 80


class CallWatch:
    """Observes the calls of one backend.

    Attributes:
        hung: whether a call exceeded its time limit, so that the backend may be unusable.
    """

    hung = False

    def wrap(self, kv: FullKeyValue) -> FullKeyValue:
        """Return the same operations, each with the time limit."""
        return cast("FullKeyValue", _ObservedKeyValue(kv, self))


class _ObservedKeyValue:
    """Every operation; the methods are made below from the table of operations."""

    def __init__(self, kv: FullKeyValue, calls: CallWatch) -> None:
        self.kv = kv
        self.calls = calls

    def watch(self, prefix: str = "") -> AbstractAsyncContextManager[AsyncIterator[Event]]:
        return self.kv.watch(prefix)


def _observed(name: str) -> Callable[..., Awaitable[object]]:
    async def call(self: _ObservedKeyValue, *args: object, **kwargs: object) -> object:
        try:
            async with time_limit(CALL_SECONDS, f"{name}({_shown(args)})"):
                return await getattr(self.kv, name)(*args, **kwargs)
        except TimeLimitExceeded:
            self.calls.hung = True
            raise

    call.__name__ = name
    return call


def _shown(args: tuple[object, ...]) -> str:
    """Return the first argument, which is the key, the keys or the prefix."""
    text = repr(args[0]) if args else ""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


for _name in OPERATIONS:
    if _name != "watch":
        setattr(_ObservedKeyValue, _name, _observed(_name))


async def gather_bounded(operations: Iterable[Coroutine[object, None, Result]]) -> list[Result]:
    """Run the operations, at most 100 at a time, and return their results in order."""
    remaining = iter(operations)
    results: list[Result] = []
    while chunk := list(islice(remaining, MAX_AT_ONCE)):
        results += await asyncio.gather(*chunk)
    return results


async def gather_or_cancel(*operations: Coroutine[object, None, Result]) -> list[Result]:
    """Run the operations at once and return their results; the first error cancels the rest."""
    tasks = [asyncio.ensure_future(operation) for operation in operations]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # Otherwise one operation could wait forever for what a broken backend never shows.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
