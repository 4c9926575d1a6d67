"""SQLite file: opening it, the threads that use it, and the translation of its errors."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    Exhausted,
    Internal,
    InvalidArgument,
    Outcome,
    PrismError,
)
from prism_driver_sqlite.table import SCHEMA, Table

Result = TypeVar("Result")

APPLICATION_ID = 0x5052534D
"""Marks the files of this driver; another program's database is left alone."""


class Connection:
    """SQLite connection with a thread of its own, which runs the calls in order.

    Args:
        path: database file.
        busy_timeout: time to wait for a lock that another process holds.
    """

    def __init__(self, path: Path, busy_timeout: timedelta) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="prism-sqlite")
        self._opened: sqlite3.Connection | None = None

    async def open_writer(self, max_bytes: int) -> None:
        """Open the file for writing; create the table where there is none.

        Args:
            max_bytes: maximum size of the file; 0: no limit.
        """
        timeout_s = self._busy_timeout.total_seconds()
        await self._run(lambda: _prepare(self._open(), self._path, max_bytes, timeout_s))

    async def open_reader(self) -> None:
        """Open the file for reading. In WAL mode readers do not wait for writers."""
        await self._run(lambda: self._open().execute("PRAGMA query_only = ON"))

    async def read(self, work: Callable[[Table], Result]) -> Result:
        """Run `work` on the table; return its result."""
        return await self._run(lambda: work(Table(self._connection)))

    async def write(self, work: Callable[[Table], Result]) -> Result:
        """Run `work` in a transaction: on disk when this returns, undone when it raises.

        Cancelling revokes the work if the thread has not begun it, and has no effect later.
        """
        return await self._run(
            lambda: _in_transaction(self._connection, lambda: work(Table(self._connection)))
        )

    async def close(self) -> None:
        """Finish the calls that are queued, and close the connection."""
        try:
            await self._run(self._close)
        finally:
            self._thread.shutdown(wait=False)

    @property
    def _connection(self) -> sqlite3.Connection:
        assert self._opened is not None, "the first call opens it"
        return self._opened

    def _open(self) -> sqlite3.Connection:
        self._opened = sqlite3.connect(
            self._path, timeout=self._busy_timeout.total_seconds(), isolation_level=None
        )
        return self._opened

    def _close(self) -> None:
        if self._opened is not None:
            self._opened.close()

    async def _run(self, call: Callable[[], Result]) -> Result:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except sqlite3.Error as error:
            raise _translated(error, self._path) from error


def _prepare(connection: sqlite3.Connection, path: Path, max_bytes: int, timeout_s: float) -> None:
    if max_bytes:
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        connection.execute(f"PRAGMA max_page_count = {max(max_bytes // page_size, 1)}")

    def create() -> None:
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        if mark == APPLICATION_ID:
            return
        if mark or connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise InvalidArgument(f"{path} is a database of another program: choose another file")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        for statement in SCHEMA:
            connection.execute(statement)

    _in_transaction(connection, create)
    _write_ahead(connection, time.monotonic() + timeout_s)
    connection.execute("PRAGMA synchronous = FULL")


def _write_ahead(connection: sqlite3.Connection, deadline: float) -> None:
    # The busy timeout of SQLite does not apply to this lock.
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _in_transaction(connection: sqlite3.Connection, work: Callable[[], Result]) -> Result:
    # IMMEDIATE takes the write lock first: values read in it stay true until it writes.
    connection.execute("BEGIN IMMEDIATE")
    try:
        result = work()
        connection.execute("COMMIT")
    except BaseException:
        # On a full disk SQLite has rolled back already.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return result


def _translated(error: sqlite3.Error, path: Path) -> PrismError:
    # The low byte is the primary code; the higher bytes extend it.
    match getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF:
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_NOMEM:
            return Exhausted(f"{path} cannot grow: {error}")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return BackendUnavailable(
                f"{path} is locked by another process for longer than busy_timeout",
                outcome=Outcome.NOT_APPLIED,
            )
        case sqlite3.SQLITE_CANTOPEN:
            return BackendUnavailable(
                f"{path} cannot be opened: {error}", outcome=Outcome.NOT_APPLIED
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return AccessDenied(f"{path} may not be written: {error}")
        case sqlite3.SQLITE_IOERR:
            return BackendUnavailable(f"{path} cannot be read or written: {error}")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return Internal(
                f"{path} is damaged or not a database: {error}; restore it from a backup",
                reason="CORRUPT",
            )
    return Internal(f"SQLite failed: {error}")
