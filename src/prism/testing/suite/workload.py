"""Concurrent load: many operations at once, and callers that do random operations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterable, Sequence
from itertools import islice
from typing import Any, TypeVar

from prism.ports import Capability, Profile
from prism.testing.suite.histories import Caller

Result = TypeVar("Result")

MAX_AT_ONCE = 100
"""Every server admits at least this many operations from one connection."""


async def gather_bounded(operations: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run the operations, at most 100 at a time, and return their results in order."""
    remaining = iter(operations)
    results: list[Result] = []
    while chunk := list(islice(remaining, MAX_AT_ONCE)):
        results += await asyncio.gather(*chunk)
    return results


async def gather_or_cancel(*operations: Coroutine[Any, Any, Result]) -> list[Result]:
    """Run the operations at once and return their results; the first error cancels the rest."""
    tasks = [asyncio.ensure_future(operation) for operation in operations]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # Otherwise one operation could wait forever for what a broken backend never shows.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class RandomWorkload:
    """Random operations of one recorded caller, the same in every run.

    Args:
        name: name of the caller. Each value starts with it, so that each is written once.
        caller: caller that makes and records the calls.
        keys: keys to choose from.
        profile: profile of the backend, which tells whether to compare and set.
    """

    def __init__(self, name: str, caller: Caller, keys: Sequence[str], profile: Profile) -> None:
        self._name = name
        self._caller = caller
        self._keys = keys
        self._random = random.Random(name)
        self._compares = Capability.COMPARE_AND_SET in profile.capabilities
        self._step = 0

    async def step(self) -> None:
        """Do one operation, or a read and the write that depends on it; raise its error."""
        self._step += 1
        key = self._random.choice(self._keys)
        value = f"{self._name}.{self._step}".encode()
        kind = self._random.random()
        if kind < 0.45:
            await self._caller.get(key)
        elif kind < 0.5:
            await self._caller.exists(key)
        elif kind < 0.7 or not self._compares:
            await self._caller.set(key, value)
        elif kind < 0.8:
            await self._caller.delete(key)
        else:
            entry = await self._caller.get(key)
            if entry is not None and kind > 0.95:
                await self._caller.compare_and_delete(key, expected=entry.version)
            else:
                expected = None if entry is None else entry.version
                await self._caller.compare_and_set(key, value, expected=expected)
