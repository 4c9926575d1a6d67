"""Processes that no call goes to any more, each until it has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable
from datetime import timedelta
from typing import Any

from prism.domain.patterns.instance import Instance


class Aside:
    """Those of one pattern: they hold up none of the commands to it."""

    def __init__(self) -> None:
        self._leaving: dict[asyncio.Task[None], Instance] = {}

    def put(self, instance: Instance, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """One more, and what is to be done until it has ended; whoever wants may await it."""
        task = asyncio.create_task(work)
        self._leaving[task] = instance
        task.add_done_callback(self._leaving.pop)
        return task

    async def finish_calls(self, timeout: timedelta) -> None:
        """Wait, at most so long, for those that have calls in flight."""
        await _wait((task for task, each in self._leaving.items() if each.in_flight), timeout)

    async def close(self, why: str, timeout: timedelta) -> None:
        """Wait for no call any more, and close all."""
        await asyncio.gather(*(each.close(why, timeout) for each in self._leaving.values()))
        await _wait(self._leaving)


async def _wait(tasks: Iterable[asyncio.Task[None]], timeout: timedelta | None = None) -> None:
    waited = tuple(tasks)
    if waited:
        await asyncio.wait(waited, timeout=None if timeout is None else timeout.total_seconds())
