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
