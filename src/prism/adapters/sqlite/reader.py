"""Reads: of single keys in the thread of the event loop, of many in threads of their own.

A read of one key takes a few microseconds when its pages are in memory, and handing it to a
thread takes many times as long. When the disk is slow, such reads move to threads for a while,
so that no more than a few of them hold up the event loop.
"""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from prism.adapters.sqlite.errors import is_busy, is_damage, translate
from prism.adapters.sqlite.table import Entries
from prism.ports import PrismError

THREADS = 4

SLOW_SECONDS = 0.002
"""Duration from which on a read of one key is slow, if it waited for the disk."""

AVOID_SECONDS = 0.1
"""Time for which reads avoid the thread of the event loop after a slow one."""

Result = TypeVar("Result")


class Reader:
    """Connections that only read.

    Args:
        connection: connection of `open_reader` that never waits, for the event loop.
        for_threads: connections of `open_reader`, one for each thread.
        path: file of the connections.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        for_threads: Sequence[sqlite3.Connection],
        path: Path,
    ) -> None:
        self._path = path
        self._connection = connection
        self._entries = Entries(self._connection)
        self._avoid_loop_until = 0.0
        self._blocks_read = _blocks_read_by_this_thread()
        self._threads = ThreadPoolExecutor(
            len(for_threads), thread_name_prefix="prism-sqlite-reader"
        )
        self._for_threads = for_threads
        # The last one first: it has the most pages in memory.
        self._idle = [Entries(each) for each in for_threads]
        self.damage: PrismError | None = None
        """Error of the read that found the file damaged; None: none has."""

    async def read(self, work: Callable[[Entries, str], Result], key: str) -> Result:
        """Read a single key."""
        started = time.perf_counter()
        if started >= self._avoid_loop_until:
            try:
                result = work(self._entries, key)
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise self._translate(error) from error
            else:
                now = time.perf_counter()
                if now - started >= SLOW_SECONDS and self._waited_for_the_disk():
                    self._avoid_loop_until = now + AVOID_SECONDS
                return result
        return await self.read_in_thread(lambda entries: work(entries, key))

    def read_now(self, work: Callable[[Entries], Result]) -> Result:
        """Read in this thread.

        Raises:
            sqlite3.Error: as SQLite raised it.
        """
        return work(self._entries)

    async def read_in_thread(self, work: Callable[[Entries], Result]) -> Result:
        """Read, in a thread, what may take longer."""
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._read_here, work
        )

    async def close(self) -> None:
        """Finish the reads that have begun, and close the connections."""
        self._connection.close()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, self._threads.shutdown)
        for connection in self._for_threads:
            connection.close()

    def _waited_for_the_disk(self) -> bool:
        """Return whether this thread read from a disk since the last look.

        A read can be slow for another reason: other processes used the processor.
        """
        before, self._blocks_read = self._blocks_read, _blocks_read_by_this_thread()
        return self._blocks_read > before

    def _read_here(self, work: Callable[[Entries], Result]) -> Result:
        entries = self._idle.pop()
        try:
            return work(entries)
        except sqlite3.Error as error:
            raise self._translate(error) from error
        finally:
            self._idle.append(entries)

    def _translate(self, error: sqlite3.Error) -> PrismError:
        translated = translate(error, self._path)
        if is_damage(translated):
            self.damage = translated
        return translated


def _blocks_read_by_this_thread() -> int:
    # Only Linux counts for each thread; elsewhere the process stands for it.
    who = getattr(resource, "RUSAGE_THREAD", resource.RUSAGE_SELF)
    return resource.getrusage(who).ru_inblock
