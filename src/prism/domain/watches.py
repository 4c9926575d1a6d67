"""The watches that stand: bounded in number, and ended when admission closes.

A watch is no operation in flight: a drain would wait for it for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from typing import TypeVar

from prism.domain.admission import Admission
from prism.ports import Event, Exhausted, WatchEnded

Result = TypeVar("Result")

MAX_WATCHES = 1000


class Watches:
    """Lets watches in, and ends them.

    Args:
        max_watches: at once, in all.
    """

    def __init__(self, admission: Admission, max_watches: int) -> None:
        self._admission = admission
        self._max_watches = max_watches
        self._standing = 0

    @property
    def standing(self) -> int:
        """Watches admitted and not ended."""
        return self._standing

    @property
    def max_watches(self) -> int:
        """The bound on `standing`."""
        return self._max_watches

    @contextmanager
    def admit(self) -> Iterator[Reader]:
        """The one who reads a watch, which counts for as long as the context lasts.

        Raises:
            NotServing: closed.
            Exhausted: a bound is reached.
        """
        self._admission.check_open()
        if self._standing >= self._max_watches:
            raise Exhausted(
                f"{self._max_watches:,} watches stand, which is the limit; "
                "end some, or raise --max-watches",
                reason="TOO_MANY_WATCHES",
            )
        self._standing += 1
        reader = Reader(self._admission)
        self._admission.when_closed(reader.end)
        try:
            yield reader
        finally:
            self._admission.forget(reader.end)
            self._standing -= 1


class Reader:
    """Who waits for a watch to stand, and for its next event, while admission is open."""

    __slots__ = ("_admission", "_ended", "_loop", "_task")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._ended = False

    def end(self) -> None:
        """Admission has closed: it waits no longer, now or later."""
        if not self._ended:
            self._ended = True
            if self._task is not None:
                self._task.cancel()

    @asynccontextmanager
    async def reading(
        self, watch: AbstractAsyncContextManager[AsyncIterator[Event]]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """A driver's watch, ended in time."""
        async with AsyncExitStack() as stack:
            events = await self.wait(lambda: stack.enter_async_context(watch))
            yield _Events(events, self)

    async def wait(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Take one step.

        Raises:
            NotServing: admission is closed, before or meanwhile.
        """
        if self._ended:
            raise self._admission.refusal()
        task = self._task = asyncio.current_task(self._loop)
        cancelled_before = task.cancelling() if task else 0
        try:
            return await step()
        except asyncio.CancelledError:
            if not self._ended or task is None or task.uncancel() > cancelled_before:
                raise
        finally:
            self._task = None
        raise self._admission.refusal()


class _Events:
    """The events of one watch, which ends but once, and never without saying why."""

    __slots__ = ("_ended", "_next", "_reader")

    def __init__(self, events: AsyncIterator[Event], reader: Reader) -> None:
        self._next = events.__anext__
        self._reader = reader
        self._ended: str | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._ended is not None:
            raise WatchEnded(f"the watch has ended: {self._ended}; begin it again")
        try:
            return await self._reader.wait(self._next)
        except asyncio.CancelledError:
            self._ended = "reading it was cancelled"
            raise
        except StopAsyncIteration:
            self._ended = "the driver reports no more"
        except Exception as error:
            self._ended = str(error)
            raise
        raise WatchEnded(f"the watch has ended: {self._ended}; begin it again")
