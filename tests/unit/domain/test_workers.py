"""Tasks of a stream run in the context of the stream, and not in that of their starter."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextvars import ContextVar, copy_context

from prism.domain.workers import Workers

caller: ContextVar[str] = ContextVar("caller")


class OneOperation:
    def __init__(self) -> None:
        self.backlog = 1
        self.seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def step(self, task: asyncio.Task[None]) -> Awaitable[None] | None:
        if self.backlog:
            self.backlog = 0
            self.seen.set_result(caller.get())
        return None


async def test_a_task_runs_for_the_caller_of_its_stream() -> None:
    caller.set("of the stream")
    work = OneOperation()
    workers = Workers(work)
    other = copy_context()
    other.run(caller.set, "of another stream")
    other.run(workers.ensure_workers)
    async with asyncio.timeout(30):
        assert await work.seen == "of the stream"
