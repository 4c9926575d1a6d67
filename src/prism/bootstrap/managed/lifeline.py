"""Pipe from the proxy, which carries the token and signals the proxy's exit."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import signal
import threading
import time
from concurrent.futures import Future
from contextlib import suppress
from datetime import timedelta

log = logging.getLogger(__name__)

END_WITHIN = timedelta(seconds=10)


class Lifeline:
    """Reads the token from the pipe, and ends this process when the pipe ends.

    A thread reads the pipe, so that a process whose event loop is stuck, or has not begun,
    ends too.

    Args:
        descriptor: inherited and open; processes that this one starts do not inherit it.
        end_within: maximum time from the exit of the proxy to the exit of this process.
    """

    def __init__(self, descriptor: int, end_within: timedelta = END_WITHIN) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._end_within_s = end_within.total_seconds()
        self._watching = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token: Future[str] = Future()
        # Marked as running, or a waiter that is cancelled would cancel it for the thread too.
        self._token.set_running_or_notify_cancel()

    def watch(self) -> None:
        """Begin to read the pipe. Safe to repeat."""
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    async def token(self) -> str:
        """Wait for the token, and return it."""
        self._loop = asyncio.get_running_loop()
        self.watch()
        return await asyncio.wrap_future(self._token)

    def _watch(self) -> None:
        with suppress(OSError), os.fdopen(self._descriptor, "rb") as pipe:
            line = pipe.readline()
            if line.endswith(b"\n"):
                self._token.set_result(line.strip().decode("ascii", "replace"))
            while pipe.read1():
                pass
        # Logged by the loop: a thread that is stuck in a log call would block this one.
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(log.warning, "the process of the proxy has ended")
        # SIGTERM shuts down in order, once there is anything to shut down.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._end_within_s)
        os._exit(1)


@functools.cache
def lifeline_at(descriptor: int) -> Lifeline:
    """Return the lifeline of this process; it is watched before anything needs the token.

    Raises:
        OSError, OverflowError: the descriptor is not open.
    """
    return Lifeline(descriptor)
