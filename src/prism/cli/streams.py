"""Standard streams: bytes and JSON to stdout, and blocking reads and writes in threads."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from io import FileIO, UnsupportedOperation
from typing import BinaryIO, TypeVar, cast

from prism.ports import Version

Result = TypeVar("Result")


def write(data: bytes) -> None:
    """Write bytes to stdout in any locale, and flush."""
    stream = sys.stdout.buffer
    write_all(cast("BinaryIO", stream), data)
    stream.flush()


def write_line(text: str) -> None:
    """Write text and a newline to stdout, as UTF-8."""
    write(text.encode() + b"\n")


def write_json(**fields: object) -> None:
    """Write one JSON object on one line to stdout."""
    write(encode_json(fields) + b"\n")


def encode_json(fields: Mapping[str, object]) -> bytes:
    """Return one JSON object, compact, without a newline."""
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()


def version_field(version: Version) -> str:
    """Return a version for JSON: text, because many JSON readers keep only 53 bits of a number."""
    return str(version)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines of columns that are aligned to the left."""
    return _aligned(rows, str.ljust)


def number_columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the rows as lines of columns, of which all but the first are aligned to the right."""
    return _aligned(rows, str.rjust)


def _aligned(rows: Sequence[Sequence[str]], pad: Callable[[str, int], str]) -> list[str]:
    first, *others = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([name.ljust(first), *map(pad, cells, others)]).rstrip() for name, *cells in rows
    ]


async def in_thread(call: Callable[[], Result]) -> Result:
    """Return the result of a blocking call that runs in a daemon thread.

    `asyncio.to_thread` would keep the process alive until a read from a silent pipe returns.
    Cancelling stops waiting; the call itself goes on.
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
    """Return the file below a standard stream, or the stream itself where there is none.

    A daemon thread that blocks inside sys.stdin or sys.stdout would hold a lock that the
    interpreter takes when it exits.
    """
    with contextlib.suppress(UnsupportedOperation):
        return FileIO(stream.fileno(), mode, closefd=False)
    return stream


def write_all(stream: BinaryIO, data: bytes) -> None:
    """Write all bytes to a stream that may accept only a part at a time."""
    view = memoryview(data)
    while view:
        view = view[stream.write(view) :]
