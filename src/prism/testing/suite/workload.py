"""Concurrent load: many operations at once, and callers that do random operations."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from itertools import islice
from typing import TypeVar

from prism.ports import Capability, Condition, Delete, Profile, Put
from prism.testing.suite.histories import Caller
from prism.testing.suite.timing import LONG

Result = TypeVar("Result")

MAX_AT_ONCE = 100
"""Every server admits at least this many operations from one connection."""


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


class EveryWriteWorkload:
    """Random operations of one recorded caller: every write that is declared, and reads.

    All values are numbers, so that increments apply to them. Each number that is set is a
    multiple of `_APART`, and there are too few increments for two of them to meet. A caller
    writes fewer than 1,000 values.

    Args:
        number: number of the caller, from 0.
        caller: caller that makes and records the calls.
        keys: keys to choose from.
        profile: profile of the backend, which tells what may be called.
    """

    _APART = 10_000

    def __init__(self, number: int, caller: Caller, keys: Sequence[str], profile: Profile) -> None:
        self._caller = caller
        self._keys = keys
        self._random = random.Random(number)
        self._first = (number + 1) * 1_000 * self._APART
        self._step = 0
        steps: list[tuple[Capability | None, Callable[[str], Awaitable[object]]]] = [
            (None, caller.get),
            (None, self._set),
            (None, caller.delete),
            (Capability.COMPARE_AND_SET, self._compare_and_set),
            (Capability.COMPARE_AND_SET, self._compare_and_set),
            (Capability.COMPARE_AND_SET, self._compare_and_delete),
            (Capability.COUNTER, self._increment),
            (Capability.TTL, lambda key: caller.expire(key, LONG)),
            (Capability.TTL, caller.persist),
            (Capability.TTL, lambda key: caller.set(key, self._value(), ttl=LONG)),
            (Capability.BATCH, lambda _: caller.get_many(keys)),
            (Capability.BATCH, self._set_many),
            (Capability.BATCH, lambda _: caller.delete_many(keys)),
            (Capability.TRANSACTIONS, self._apply),
        ]
        declared = profile.capabilities
        self._steps = [
            step for capability, step in steps if capability is None or capability in declared
        ]

    async def step(self) -> None:
        """Do one operation, or a read and the write that depends on it; raise its error."""
        await self._random.choice(self._steps)(self._random.choice(self._keys))

    def _value(self) -> bytes:
        self._step += 1
        return b"%d" % (self._first + self._step * self._APART)

    async def _set(self, key: str) -> None:
        await self._caller.set(key, self._value())

    async def _set_many(self, key: str) -> None:
        await self._caller.set_many([Put(each, self._value()) for each in self._keys])

    async def _apply(self, key: str) -> None:
        entry = await self._caller.get(key)
        if entry is None or int(entry.value) >= self._APART:
            condition = Condition.unchanged(key, entry)
            write = Delete(key) if self._random.random() < 0.3 else Put(key, self._value())
            await self._caller.apply([condition], [write])

    async def _increment(self, key: str) -> None:
        await self._caller.increment(key)

    async def _compare_and_set(self, key: str) -> None:
        entry = await self._caller.get(key)
        if entry is None:
            await self._caller.compare_and_set(key, self._value(), expected=None)
        elif int(entry.value) >= self._APART:
            # A number counted from an absent key may come back, with another version.
            await self._caller.compare_and_set(key, self._value(), expected=entry.version)

    async def _compare_and_delete(self, key: str) -> None:
        entry = await self._caller.get(key)
        if entry is not None and int(entry.value) >= self._APART:
            await self._caller.compare_and_delete(key, expected=entry.version)
