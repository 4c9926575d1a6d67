"""Work in the background: it deletes expired keys and serves the watches."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from prism.adapters.sqlite.changes import ChangeLog
from prism.adapters.sqlite.reader import Reader
from prism.adapters.sqlite.table import MAX_EXPIRED_PER_SWEEP, Entries, RecordedChange
from prism.adapters.sqlite.writer import Writer
from prism.kit import Watchers, closed
from prism.ports import Event, NotServing, PrismError, Version, WatchEnded

_log = logging.getLogger(__name__)

POLL_SECONDS = 0.05
"""Time between two checks for writes of other processes, while there are watches."""

TICKS_PER_SWEEP = 5
"""Looks for expired keys come every fifth tick: four a second."""

_CLOSED = closed("the SQLite file")


class Maintenance:
    """Task that looks for expired keys and for changes of other processes; the watches.

    Args:
        log: exchange of changes with other processes.
    """

    def __init__(self, log: ChangeLog) -> None:
        self._log = log
        self._writer: Writer = _CLOSED
        self._reader: Reader = _CLOSED
        self._watchers = Watchers()
        # Both are changed in the event loop only, and the writer keeps the order of requests: a
        # watch that comes after a release takes the lease again.
        self._open = 0
        self._leased = False
        self._task: asyncio.Task[None] | None = None

    def bind(self, writer: Writer, reader: Reader) -> None:
        """Set what reads and writes the file."""
        self._writer, self._reader = writer, reader

    def start(self) -> None:
        """Start the task, unless it runs."""
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """End the watches and the task; give up the lease."""
        self._watchers.end(NotServing("the SQLite driver was stopped"))
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
        if self._leased:
            with suppress(PrismError):
                await self._release()

    @asynccontextmanager
    async def watch(self, prefix: str) -> AsyncIterator[AsyncIterator[Event]]:
        """Report the changes of the keys that begin with the prefix."""
        self._open += 1
        try:
            if not self._leased:
                await self._writer.write(self._log.renew)
                self._leased = True
            with self._watchers.watching(prefix) as events:
                yield events
        finally:
            self._open -= 1

    def report(self, changes: Sequence[RecordedChange], gap: bool) -> None:
        """Give the changes of a commit to the watches."""
        if gap:
            self._leased = False
            self._watchers.end(
                WatchEnded(
                    "this process stood still for so long that other processes stopped to"
                    " record their changes for it: start a new watch and read the keys again"
                )
            )
        if self._watchers.any:
            for revision, change, key, value in changes:
                version = None if value is None else Version(revision)
                self._watchers.notify(change, key, value, version)

    async def _run(self) -> None:
        tick = 0
        while True:
            await asyncio.sleep(POLL_SECONDS)
            tick += 1
            try:
                if self._leased:
                    await self._listen()
                if tick % TICKS_PER_SWEEP == 0:
                    await self._sweep()
            except PrismError as error:
                _log.warning("cannot maintain the SQLite file, will try again: %s", error.message)
            except Exception:
                _log.exception("maintaining the SQLite file failed")

    async def _listen(self) -> None:
        if not self._open:
            await self._release()
        elif self._log.needs_renewal():
            await self._writer.write(self._log.renew)
        else:
            self._writer.poll()

    async def _release(self) -> None:
        self._leased = False
        await self._writer.write(lambda _: self._log.release())

    async def _sweep(self) -> None:
        try:
            if not self._reader.read_now(Entries.any_expired):
                return
        except sqlite3.Error:
            # A read by a caller says what is wrong.
            return
        while await self._writer.write(lambda transaction: transaction.sweep()) == (
            MAX_EXPIRED_PER_SWEEP
        ):
            pass
