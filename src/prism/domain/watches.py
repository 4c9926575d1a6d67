"""Open watches: limited in number, and ended when admission closes.

A watch does not count as in flight, because a drain would wait for it without end.
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

from prism.domain.admission import Admission, connection
from prism.ports import Event, Exhausted, WatchEnded
from prism.ports.text import counted

Result = TypeVar("Result")

MAX_WATCHES = 1000

MAX_CONNECTION_WATCHES = 250
"""Watches of one connection, so that one caller cannot take them all."""


class Watches:
    """Admits watches, within a limit, and ends them when admission closes.

    Args:
        max_watches: maximum number of open watches.
    """

    def __init__(self, admission: Admission, max_watches: int) -> None:
        self._admission = admission
        self._max_watches = max_watches
        self._active = 0
        self._by_connection: dict[str, int] = {}

    @property
    def active(self) -> int:
        """Number of open watches."""
        return self._active

    @property
    def max_watches(self) -> int:
        """Maximum of `active`."""
        return self._max_watches

    @contextmanager
    def admit(self) -> Iterator[WatchReader]:
        """Admit a watch, which counts while the context lasts; yield its reader.

        Raises:
            NotServing: admission is closed.
            Exhausted: the limit is reached.
        """
        self._admission.check_open()
        if self._active >= self._max_watches:
            raise Exhausted(
                f"the limit of {counted(self._max_watches, 'open watch', 'open watches')} is "
                "reached; close some, or raise --max-watches",
                reason="TOO_MANY_WATCHES",
            )
        name = connection.get()
        count = self._by_connection.get(name, 0) + 1
        # Connections without a name look the same: only the total counts for them.
        if name and count > MAX_CONNECTION_WATCHES:
            raise Exhausted(
                f"the limit of {MAX_CONNECTION_WATCHES} open watches on this connection is "
                "reached; close some, or open another connection",
                reason="TOO_MANY_WATCHES",
            )
        self._active += 1
        self._by_connection[name] = count
        reader = WatchReader(self._admission)
        self._admission.on_close(reader.end)
        try:
            yield reader
        finally:
            self._admission.remove_on_close(reader.end)
            self._active -= 1
            self._by_connection[name] -= 1
            if not self._by_connection[name]:
                del self._by_connection[name]


class WatchReader:
    """Waits for a watch to open and for its events, until admission closes."""

    __slots__ = ("_admission", "_ended", "_loop", "_task")

    def __init__(self, admission: Admission) -> None:
        self._admission = admission
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[object] | None = None
        self._ended = False

    def end(self) -> None:
        """Stop waiting, now and later, because admission has closed."""
        if not self._ended:
            self._ended = True
            if self._task is not None:
                self._task.cancel()

    @asynccontextmanager
    async def reading(
        self, watch: AbstractAsyncContextManager[AsyncIterator[Event]]
    ) -> AsyncIterator[AsyncIterator[Event]]:
        """Open a driver's watch; yield its events until admission closes."""
        async with AsyncExitStack() as stack:
            events = await self.wait(lambda: stack.enter_async_context(watch))
            yield _Events(events, self)

    async def wait(self, step: Callable[[], Awaitable[Result]]) -> Result:
        """Await what `step` returns.

        Raises:
            NotServing: admission is closed, or closes meanwhile.
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
    """Events of one watch. After its end, reading always raises an error that says why."""

    __slots__ = ("_ended", "_next", "_reader")

    def __init__(self, events: AsyncIterator[Event], reader: WatchReader) -> None:
        self._next = events.__anext__
        self._reader = reader
        self._ended: str | None = None

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        if self._ended is not None:
            raise self._error()
        try:
            return await self._reader.wait(self._next)
        except asyncio.CancelledError:
            self._ended = "reading was cancelled"
            raise
        except StopAsyncIteration:
            self._ended = "the driver reports no more events"
        except Exception as error:
            self._ended = str(error)
            raise
        raise self._error()

    def _error(self) -> WatchEnded:
        return WatchEnded(
            f"the watch has ended: {self._ended}; start a new watch and read the keys again"
        )
