"""Tasks on standby: operations begin outside of a task, in the name of one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import pytest

from prism.domain.deadline import rest_of
from prism.domain.workers import Standby

_value: ContextVar[int] = ContextVar("_value", default=0)

Operation = Callable[[], Coroutine[Any, Any, None]]


class Source:
    """Operations in a queue.

    Attributes:
        tasks: task of each operation that began.
    """

    def __init__(self) -> None:
        self.queue: deque[Operation] = deque()
        self.tasks: list[asyncio.Task[None]] = []
        self.standby = Standby(self)
        self.standby.start(2)

    @property
    def backlog(self) -> int:
        return len(self.queue)

    def step(self, task: asyncio.Task[None]) -> Awaitable[None] | None:
        while self.queue:
            operation = self.queue.popleft()
            self.tasks.append(task)
            work = operation()
            try:
                waits_for = work.send(None)
            except StopIteration:
                continue
            return self._finish(work, waits_for)
        return None

    async def _finish(self, work: Coroutine[Any, Any, None], waits_for: object) -> None:
        with suppress(asyncio.CancelledError):
            await rest_of(work, waits_for)


@pytest.fixture
async def source() -> AsyncIterator[Source]:
    source = Source()
    await asyncio.sleep(0)
    yield source
    source.standby.close()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    async with asyncio.timeout(30):
        await asyncio.gather(*others, return_exceptions=True)


async def run(source: Source, *operations: Operation) -> None:
    """Run operations from a callback of the loop, as from bytes that arrive."""
    source.queue.extend(operations)
    asyncio.get_running_loop().call_soon(source.standby.run)
    await asyncio.sleep(0)


async def until(condition: Callable[[], object]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0)


async def test_what_does_not_wait_ends_at_once_in_the_name_of_a_task(source: Source) -> None:
    seen = []

    async def operation() -> None:
        seen.append(asyncio.current_task())

    await run(source, operation, operation)
    assert seen == source.tasks
    assert len(set(seen)) == 1
    assert seen[0] is not None


async def test_those_that_wait_run_beside_each_other_each_in_its_own_task(source: Source) -> None:
    release, ended = asyncio.Event(), []

    async def operation() -> None:
        before = asyncio.current_task()
        token = _value.set(1)
        await release.wait()
        _value.reset(token)
        assert asyncio.current_task() is before
        ended.append(before)

    await run(source, *[operation] * 5)
    await until(lambda: len(source.tasks) == 5)
    release.set()
    await until(lambda: len(ended) == 5)
    assert len(set(ended)) == 5


async def test_a_timeout_of_an_operation_is_its_own(source: Source) -> None:
    outcome: list[str] = []

    async def operation() -> None:
        try:
            async with asyncio.timeout(0.01):
                await asyncio.Event().wait()
        except TimeoutError:
            outcome.append("timed out")

    await run(source, operation)
    await until(lambda: outcome)
    await run(source, operation)
    await until(lambda: len(outcome) == 2)


async def test_an_operation_can_be_cancelled_right_after_its_first_step(source: Source) -> None:
    outcome: list[str] = []

    async def cancelled() -> None:
        asyncio.get_running_loop().call_soon(source.tasks[0].cancel)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcome.append("cancelled")
            raise

    async def after() -> None:
        outcome.append("after")

    await run(source, cancelled)
    await until(lambda: outcome)
    await run(source, after)
    assert outcome == ["cancelled", "after"]
