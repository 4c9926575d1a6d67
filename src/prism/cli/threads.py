"""Blocking calls beside an event loop that stays ready for Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import Future
from io import FileIO, UnsupportedOperation
from typing import BinaryIO, TypeVar

Result = TypeVar("Result")


async def in_thread(call: Callable[[], Result]) -> Result:
    """The result of a blocking call; cancelling leaves the call to itself.

    In a daemon thread, because `asyncio.to_thread` would keep the process alive
    until a read from a silent pipe returns.
    """
    future: Future[Result] = Future()

    def run() -> None:
        future.set_running_or_notify_cancel()
        try:
            result = call()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(result)

    threading.Thread(target=run, daemon=True, name="prism-io").start()
    return await asyncio.wrap_future(future)


def unbuffered(stream: BinaryIO, mode: str) -> BinaryIO:
    """The file below a standard stream, or the stream where there is none.

    A daemon thread that blocks inside sys.stdin or sys.stdout holds a lock that
    the interpreter wants on its way out.
    """
    with contextlib.suppress(UnsupportedOperation):
        return FileIO(stream.fileno(), mode, closefd=False)
    return stream


def write_all(stream: BinaryIO, data: bytes) -> None:
    """Write to a stream that may take only a part at a time."""
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]
