"""Commands that never interleave, and that are never left half done."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, TypeVar

from prism.ports import PrismError

Result = TypeVar("Result")

log = logging.getLogger(__name__)


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
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_nobody_waits)
            raise

    async def _in_turn(self, command: Coroutine[Any, Any, Result]) -> Result:
        async with self._lock:
            return await command


def _nobody_waits(task: asyncio.Task[Any]) -> None:
    # Of what failed as it should, the state tells; of a defect nothing else would.
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, PrismError):
        log.error("a command failed after its caller had gone away", exc_info=error)
