"""Event loop in a thread of its own, for callers that block.

There is one for each process, which begins with the first call. A forked child begins its own.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any, Generic, TypeVar

Result = TypeVar("Result")


class _Call(Generic[Result]):
    """A coroutine that a thread waits for.

    Attributes:
        over: held until it has ended.
    """

    __slots__ = ("_context", "_coroutine", "_error", "_result", "_task", "over")

    def __init__(self, coroutine: Coroutine[object, None, Result]) -> None:
        self._coroutine = coroutine
        self._context = copy_context()
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        # Cheaper than an event or a future of `concurrent.futures`, which have locks of their own.
        self.over = threading.Lock()
        self.over.acquire()

    def begin(self, loop: asyncio.AbstractEventLoop) -> None:
        # With the caller's variables, of which the current span is one.
        self._task = loop.create_task(self._run(), context=self._context)

    def cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def result(self) -> Result:
        """Return what the coroutine returned, or raise what it raised."""
        if self._error is not None:
            try:
                raise self._error
            finally:
                # Or the traceback would be part of a reference cycle.
                self._error = None
        return self._result

    async def _run(self) -> None:
        try:
            self._result = await self._coroutine
        except BaseException as error:
            self._error = error
        finally:
            self.over.release()


class BackgroundLoop:
    """Loop of this process in a thread that ends with the process."""

    def __init__(self) -> None:
        self._waiting: deque[_Call[Any]] = deque()
        self._scheduled = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="prism-client", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[object, None, Result]) -> Result:
        """Run a coroutine in the loop, and wait for its end.

        Calls that threads begin at once enter the loop together. An exception in the waiting
        thread, such as KeyboardInterrupt, cancels the coroutine.

        Raises:
            RuntimeError: this is the loop's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise RuntimeError("a blocking call was made in the thread of the client's loop")
        call = _Call(coroutine)
        self._waiting.append(call)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon_threadsafe(self._begin_calls)
        try:
            call.over.acquire()
        except BaseException:
            self._loop.call_soon_threadsafe(call.cancel)
            raise
        return call.result()

    def _begin_calls(self) -> None:
        # A call that is added after this line schedules another round.
        self._scheduled = False
        waiting = self._waiting
        while waiting:
            waiting.popleft().begin(self._loop)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()


_lock = threading.Lock()
_current: BackgroundLoop | None = None


def background_loop() -> BackgroundLoop:
    """Return the loop of this process."""
    global _current
    current = _current
    if current is None:
        with _lock:
            current = _current = _current or BackgroundLoop()
    return current


def _begin_child() -> None:
    # The thread of the parent is not there, and the lock may be held for good.
    global _lock, _current
    _lock = threading.Lock()
    _current = None


os.register_at_fork(after_in_child=_begin_child)
