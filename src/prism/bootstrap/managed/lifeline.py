"""The pipe that a proxy holds the other end of, for as long as it lives."""

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
    """Brings the token, as its first line, and by its end tells that the proxy has ended.

    A thread of its own reads it: a process whose event loop is stuck, or has none yet,
    ends all the same.

    Args:
        descriptor: inherited, and open; of processes that we start, none gets it.
        end_within: from the end of the proxy to ours, whatever holds it up.
    """

    def __init__(self, descriptor: int, end_within: timedelta = END_WITHIN) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor
        self._end_within_s = end_within.total_seconds()
        self._watching = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._token: Future[str] = Future()
        # Else whoever gives up waiting for it would cancel it for the thread as well.
        self._token.set_running_or_notify_cancel()

    def watch(self) -> None:
        """From here on its end ends this process; safe more than once."""
        if not self._watching:
            self._watching = True
            threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    async def token(self) -> str:
        """The token, when it has come, or at once if it has."""
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
        # By the loop, or a thread that is stuck while it logs would hold up this one.
        if self._loop is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(log.warning, "the process of the proxy has ended")
        # As anybody else would end us, which is handled, once there is something to close.
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(self._end_within_s)
        os._exit(1)


@functools.cache
def lifeline_at(descriptor: int) -> Lifeline:
    """The one of this process: it is watched before there is anybody who needs the token.

    Raises:
        OSError, OverflowError: nothing was handed over there.
    """
    return Lifeline(descriptor)
