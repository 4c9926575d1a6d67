"""A launched process, from its start to its end; implements the domain's `Process`."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from subprocess import Popen
from threading import Thread

from prism.adapters.process.output import ProcessOutput

_LAST_OUTPUT_S = 0.5
"""How long to wait for output that is still in the pipe when the process has ended."""


class LaunchedProcess:
    """A process that leads a process group, which is killed with it.

    Args:
        output: consumer of what the process prints.
        stream: what the process prints.
        on_end: called once the process has ended.
    """

    def __init__(
        self,
        process: Popen[bytes],
        output: ProcessOutput,
        stream: asyncio.StreamReader,
        on_end: Callable[[], None],
    ) -> None:
        self._process = process
        self._output = output
        self._stream = stream
        self._on_end = on_end
        # In an empty context: the task outlives the call that launched the process, and
        # its log records must not carry that call's trace.
        self._task = asyncio.create_task(self._watch(), context=contextvars.Context())

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> str:
        return await asyncio.shield(self._task)

    def terminate(self) -> None:
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        if self._process.returncode is None:
            self._kill_group()

    async def _watch(self) -> str:
        reading = asyncio.create_task(self._output.read(self._stream))
        try:
            status = await _exit_status(self._process)
            self._kill_group()
            # A descendant that left the group may hold the pipe open without end.
            await asyncio.wait((reading,), timeout=_LAST_OUTPUT_S)
        finally:
            reading.cancel()
            await asyncio.wait((reading,))
            self._on_end()
        return _describe(status, self._output.last_message)

    def _kill_group(self) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def _exit_status(process: Popen[bytes]) -> asyncio.Future[int]:
    """Return a future of the exit status; a negative status is minus a signal."""
    loop = asyncio.get_running_loop()
    status: asyncio.Future[int] = loop.create_future()

    def set_status(number: int) -> None:
        if not status.done():
            status.set_result(number)

    def wait() -> None:
        number = process.wait()
        # The loop may have been closed, and then nothing awaits the future.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(set_status, number)

    # A daemon, so that this process can exit before the other.
    Thread(target=wait, name=f"process {process.pid}", daemon=True).start()
    return status


def _describe(status: int, last_message: str) -> str:
    if status < 0:
        return f"was killed by {_signal_name(-status)}"
    how = f"exited with status {status}"
    return f"{how}: {last_message}" if status and last_message else how


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
