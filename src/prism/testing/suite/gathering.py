"""Running many operations at once."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from itertools import islice
from typing import Any, TypeVar

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
