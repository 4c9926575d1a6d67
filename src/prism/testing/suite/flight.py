"""Many operations at once, and never more than any server admits from one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

Result = TypeVar("Result")

MOST_AT_ONCE = 100


async def at_once(operations: Iterable[Coroutine[Any, Any, Result]]) -> list[Result]:
    """Run the operations, a hundred at a time: their results, in order."""
    rest = iter(operations)
    results: list[Result] = []
    while some := list(islice(rest, MOST_AT_ONCE)):
        results += await asyncio.gather(*some)
    return results


async def together(*operations: Coroutine[Any, Any, Result]) -> list[Result]:
    """Run them at once; the first that fails ends the others, and is what is raised."""
    tasks = [asyncio.ensure_future(operation) for operation in operations]
    try:
        return await asyncio.gather(*tasks)
    finally:
        # Nobody goes on for ever, waiting for what a broken backend never shows.
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
