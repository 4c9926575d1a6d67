"""Many keys in one request: all at once, but what names the same key in its order."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar, cast

from prism.ports import Entry, Exhausted, PrismError

ItemT = TypeVar("ItemT")
OutcomeT = TypeVar("OutcomeT")

_READS_AT_ONCE = 100
"""How many values may be on their way that no longer fit the reply."""


async def each(
    items: Sequence[ItemT],
    key_of: Callable[[ItemT], str],
    operate: Callable[[ItemT], Awaitable[OutcomeT]],
) -> list[OutcomeT | PrismError]:
    """The outcome of each item, in request order; an error is one."""
    outcomes = cast("list[OutcomeT | PrismError]", [None] * len(items))
    turns: defaultdict[str, list[int]] = defaultdict(list)
    for at, item in enumerate(items):
        turns[key_of(item)].append(at)

    async def in_turn(places: Sequence[int]) -> None:
        for at in places:
            try:
                outcomes[at] = await operate(items[at])
            except PrismError as error:
                outcomes[at] = error

    async with asyncio.TaskGroup() as group:
        for places in turns.values():
            group.create_task(in_turn(places))
    return outcomes


async def read_within(
    keys: Sequence[str],
    found: Mapping[str, Entry | None],
    get: Callable[[str], Awaitable[Entry | None]],
    room: int,
) -> list[Entry | PrismError | None]:
    """The entries, as far as their values fit into so many bytes together.

    Args:
        found: some that need not be asked for.
    """
    outcomes: list[Entry | PrismError | None] = []
    for start in range(0, len(keys), _READS_AT_ONCE):
        wanted = keys[start : start + _READS_AT_ONCE]
        missing = [key for key in wanted if key not in found]
        read = dict(zip(missing, await each(missing, _itself, get), strict=True))
        for key in wanted:
            outcome = found[key] if key in found else read[key]
            if isinstance(outcome, Entry):
                if len(outcome.value) > room:
                    outcomes.append(
                        Exhausted("the value does not fit this reply: get fewer at once")
                    )
                    continue
                room -= len(outcome.value)
            outcomes.append(outcome)
    return outcomes


def _itself(key: str) -> str:
    return key
