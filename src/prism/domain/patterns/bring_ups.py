"""The part of a command that may take for ever, which whoever ends a pattern cuts short."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from prism.ports import NotServing


class CutShort(NotServing):
    """A bring-up was given up, or did not begin, because the pattern is to end."""


class BringUps:
    """Those of one pattern, one at a time.

    Args:
        pattern: whose they are, for messages.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._bars = 0
        self._cut = asyncio.Event()

    def bar(self) -> None:
        """Cut short the one under way, and let none begin any more."""
        self._bars += 1
        self._cut.set()

    @contextmanager
    def barred(self) -> Iterator[None]:
        """The same, for a while."""
        self.bar()
        try:
            yield
        finally:
            self._bars -= 1
            if not self._bars:
                self._cut.clear()

    def check(self, command: str) -> None:
        """Raises CutShort while none may begin.

        Args:
            command: which did not come to its end, such as `restart`.
        """
        if self._bars:
            raise self._cut_short(command)

    async def run(self, command: str, work: Coroutine[Any, Any, object]) -> None:
        """Run it to its end, or until it is cut short; then it is cancelled, and not awaited.

        Raises:
            CutShort: it was, or may not begin.
        """
        under_way = asyncio.create_task(work)
        cut = asyncio.create_task(self._cut.wait())
        try:
            await asyncio.wait((under_way, cut), return_when=asyncio.FIRST_COMPLETED)
            if not under_way.done():
                raise self._cut_short(command)
            await under_way
        finally:
            cut.cancel()
            under_way.cancel()
            # What becomes of it while it clears up is of interest to nobody.
            under_way.add_done_callback(lambda done: done.cancelled() or done.exception())

    def _cut_short(self, command: str) -> CutShort:
        return CutShort(
            f"the {command} of the pattern {self._pattern!r} was cut short: "
            "it is drained or stopped, with all others"
        )
