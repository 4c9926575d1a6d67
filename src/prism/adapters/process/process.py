"""A process that was launched; implements the domain's `Process`."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from subprocess import Popen
from threading import Thread

from prism.adapters.process.output import Output

_LAST_WORDS_S = 0.5
"""For output that is still on its way when the process has ended."""


class LaunchedProcess:
    """Leads a process group of its own, which ends with it.

    Args:
        output: takes in what can be read from `printed`.
        ended: is called when it has ended.
    """

    def __init__(
        self,
        process: Popen[bytes],
        output: Output,
        printed: asyncio.StreamReader,
        ended: Callable[[], None],
    ) -> None:
        self._process = process
        self._output = output
        self._printed = printed
        self._when_ended = ended
        # In a context of its own: it has nothing to do with the call that it was launched by.
        self._watching = asyncio.create_task(self._watch(), context=contextvars.Context())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> str:
        return await asyncio.shield(self._watching)

    def terminate(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._kill_group()

    async def _watch(self) -> str:
        following = asyncio.create_task(self._output.follow(self._printed))
        try:
            status = await _status_of(self._process)
            self._kill_group()
            # Whoever left the group may hold our pipe open for ever.
            await asyncio.wait((following,), timeout=_LAST_WORDS_S)
        finally:
            following.cancel()
            await asyncio.wait((following,))
            self._when_ended()
        return _in_words(status, self._output.last_words)

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _status_of(process: Popen[bytes]) -> asyncio.Future[int]:
    """Its exit status, when it has one; below zero: minus a signal."""
    loop = asyncio.get_running_loop()
    status: asyncio.Future[int] = loop.create_future()

    def tell(number: int) -> None:
        if not status.done():
            status.set_result(number)

    def wait() -> None:
        number = process.wait()
        # The loop may be closed: then nobody waits any more.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(tell, number)

    # A daemon, or this process could not end before that one.
    Thread(target=wait, name=f"process {process.pid}", daemon=True).start()
    return status


def _in_words(status: int, last_words: str) -> str:
    if status < 0:
        return f"was killed by {_name_of(-status)}"
    how = f"exited with status {status}"
    return f"{how}: {last_words}" if status and last_words else how


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
