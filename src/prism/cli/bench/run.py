"""One run of `prism bench`: fill, load, clear."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from prism.cli.bench.closed_loop import ClosedLoop
from prism.cli.bench.mixed import Workload
from prism.cli.kv.progress import Progress, progress
from prism.ports import PrismError

if TYPE_CHECKING:
    from prism import Client

_SHOWN_EVERY_S = 0.1


class Run:
    """Called with a client, once.

    Attributes:
        loop: what was measured; nothing before that began.
        interrupted: whether it was ended early.
        left_behind: why keys of it may still be there; None: they are gone.
    """

    def __init__(self, workload: Workload, *, callers: int, duration: timedelta) -> None:
        self.workload = workload
        self.callers = callers
        self.interrupted = False
        self.left_behind: str | None = None
        self.loop = ClosedLoop(callers=callers)
        self._seconds = duration.total_seconds()

    async def __call__(self, client: Client) -> None:
        self.left_behind = "interrupted"
        try:
            with progress("filling", total=self.workload.keys) as shown:
                await self.workload.fill(client, client.profile, shown.show)
            draw = self.workload.calls(client)
            with progress("loading", total=int(self._seconds * 1000)) as shown, _clock(shown):
                await self.loop.run(draw, self._seconds)
        except asyncio.CancelledError:
            # Ctrl-C: what follows is to be done all the same. A second one ends it.
            if (task := asyncio.current_task()) is not None:
                task.uncancel()
            self.interrupted = True
        finally:
            await self._clear(client)

    async def _clear(self, client: Client) -> None:
        try:
            with progress("clearing", total=self.workload.keys) as shown:
                await self.workload.clear(client, client.profile, shown.show)
        except PrismError as error:
            self.left_behind = error.message
        else:
            self.left_behind = None


@contextlib.contextmanager
def _clock(shown: Progress) -> Iterator[None]:
    """Show how much time has passed."""
    start_s = time.perf_counter()

    async def tick() -> None:
        while True:
            await asyncio.sleep(_SHOWN_EVERY_S)
            shown.show(int((time.perf_counter() - start_s) * 1000))

    ticking = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticking.cancel()
