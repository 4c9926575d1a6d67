"""A process that was started, awaited for as long as it lives, and ended."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from datetime import timedelta
from typing import Any, TypeVar

from prism.domain.patterns.ports import Process
from prism.ports import BackendUnavailable

Result = TypeVar("Result")


class Running:
    """One process.

    Args:
        pattern: whose process it is, for messages.
    """

    def __init__(self, process: Process, pattern: str) -> None:
        self._process = process
        self._pattern = pattern
        self._ended = asyncio.create_task(process.ended())

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it has not ended, as far as is known."""
        return not self._ended.done()

    async def ended(self) -> str:
        """Wait for its end; how it ended, in words."""
        return await asyncio.shield(self._ended)

    async def unless_ended(self, step: Coroutine[Any, Any, Result] | Awaitable[Result]) -> Result:
        """Await what the process has to answer, for as long as there is one.

        Raises:
            BackendUnavailable: it ended before.
        """
        answer = asyncio.ensure_future(step)
        try:
            await asyncio.wait((answer, self._ended), return_when=asyncio.FIRST_COMPLETED)
            if answer.done():
                return answer.result()
            raise BackendUnavailable(f"the pattern {self._pattern!r} {self._ended.result()}")
        finally:
            answer.cancel()

    async def end(self, *, by_itself: timedelta, patience: timedelta) -> str:
        """Wait, then terminate it, then kill it.

        Args:
            by_itself: how long to wait before the first signal.
            patience: how long to wait between the two.

        Returns:
            How it ended.
        """
        waits = ((None, by_itself), (self._process.terminate, patience))
        for signal, wait in waits:
            if signal is not None:
                signal()
            if (await asyncio.wait((self._ended,), timeout=wait.total_seconds()))[0]:
                return self._ended.result()
        self._process.kill()
        return await self.ended()
