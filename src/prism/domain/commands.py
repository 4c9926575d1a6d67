"""Commands that never interleave, and that are never left half done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Commands:
    """Runs one after another, each in a task of its own.

    A caller that goes away does not cancel what it began.
    """

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def run(self, command: Coroutine[Any, Any, Result]) -> Result:
        """Run one in its turn; what it returns or raises."""
        task = asyncio.create_task(self._in_turn(command))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return await asyncio.shield(task)

    async def _in_turn(self, command: Coroutine[Any, Any, Result]) -> Result:
        async with self._lock:
            return await command
