"""Group commit: the writes of one iteration of the event loop are one transaction.

Writes that arrive while a transaction runs form the next one. One thread runs the transactions.
A write is acknowledged after its commit, and one that fails, fails alone.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from copy import copy
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

from prism.adapters.sqlite.changes import ChangeLog
from prism.adapters.sqlite.errors import has_no_room, is_busy, is_damage, translate
from prism.adapters.sqlite.schema import FileIdentity, begin_write
from prism.adapters.sqlite.table import RecordedChange, Transaction
from prism.ports import BackendUnavailable, Outcome, PrismError

_log = logging.getLogger(__name__)

MAX_GROUP_WRITES = 4096
MAX_GROUP_BYTES = 8 << 20
"""Limits on one transaction. A single request may be larger in bytes."""

Result = TypeVar("Result")
Work: TypeAlias = Callable[[Transaction], Result]
"""One write: makes one change within a transaction, or raises and changes nothing."""

OnCommit: TypeAlias = Callable[[Sequence[RecordedChange], bool], None]
"""Is called in the event loop after a commit, before its callers: with the changes in the order
of the commits, and whether changes of other processes may be missing."""


class _Request:
    """Writes of one caller, and where their outcomes go."""

    __slots__ = ("future", "size", "works")

    def __init__(
        self, works: Sequence[Work[object]], size: int, future: asyncio.Future[list[object]]
    ) -> None:
        self.works = works
        self.size = size
        self.future = future


class _Committed:
    """Result of a group: an outcome for each write, and the changes to report."""

    __slots__ = ("changes", "gap", "outcomes")

    def __init__(self, outcomes: list[object]) -> None:
        self.outcomes = outcomes
        self.changes: list[RecordedChange] = []
        self.gap = False


class Writer:
    """The connection that writes, in a thread of its own.

    Args:
        connection: connection that `open_writer` returned.
        path: file of the connection.
        lock_timeout_s: seconds to wait while another process writes.
        log: exchange of changes with other processes.
        on_commit: called with what was committed.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        path: Path,
        *,
        lock_timeout_s: float,
        log: ChangeLog,
        on_commit: OnCommit,
    ) -> None:
        self._connection = connection
        self._path = path
        self._identity = FileIdentity.of(path)
        self._lock_timeout_s = lock_timeout_s
        self._transaction = Transaction(connection)
        self._changes = log
        self._on_commit = on_commit
        self._loop = asyncio.get_running_loop()
        self._pending: deque[_Request] = deque()
        self._idle = asyncio.Event()
        self._idle.set()
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._ended = self._loop.create_future()
        self.last_error: PrismError | None = None
        """Error of the last transaction; None if it was committed."""
        self.damage: PrismError | None = None
        """Error of the write that found the file damaged; None: none has."""
        self._thread = threading.Thread(target=self._run, name="prism-sqlite-writer", daemon=True)
        self._thread.start()

    async def write(self, work: Work[Result], size: int = 0) -> Result:
        """Make one change; return its result once it is committed.

        Cancelling revokes a write that is not in a transaction yet, and has no effect later.

        Args:
            size: bytes of the key and the value.
        """
        (outcome,) = await self._submit((work,), size)
        if isinstance(outcome, BaseException):
            raise outcome
        return cast("Result", outcome)

    async def write_many(
        self, works: Sequence[Work[Result]], size: int = 0
    ) -> list[Result | PrismError]:
        """Make changes in order; return the result or the error of each."""
        outcomes = await self._submit(works, size)
        for outcome in outcomes:
            if isinstance(outcome, Exception) and not isinstance(outcome, PrismError):
                raise outcome
        return cast("list[Result | PrismError]", outcomes)

    def has_its_file(self) -> bool:
        """Return whether the path still leads to the file that is open."""
        return FileIdentity.of(self._path) == self._identity

    def poll(self) -> None:
        """Look for changes of other processes, and call `on_commit` with them."""
        self._calls.put(self._poll)

    async def close(self) -> None:
        """Finish the writes that are queued, then close the connection."""
        await self._idle.wait()
        self._calls.put(None)
        await self._ended
        self._thread.join()

    def _submit(self, works: Sequence[Work[object]], size: int) -> asyncio.Future[list[object]]:
        future: asyncio.Future[list[object]] = self._loop.create_future()
        self._pending.append(_Request(works, size, future))
        if self._idle.is_set():
            self._idle.clear()
            # At the end of this iteration, when everybody has asked.
            self._loop.call_soon(self._hand_over)
        return future

    def _hand_over(self) -> None:
        group: list[_Request] = []
        writes = size = 0
        while self._pending and writes < MAX_GROUP_WRITES and size < MAX_GROUP_BYTES:
            request = self._pending.popleft()
            if not request.future.done():
                group.append(request)
                writes += len(request.works)
                size += request.size
        if group:
            self._calls.put(lambda: self._commit_group(group))
        else:
            self._idle.set()

    def _finish(self, group: list[_Request], committed: _Committed) -> None:
        if committed.changes or committed.gap:
            self._on_commit(committed.changes, committed.gap)
        first = 0
        for request in group:
            last = first + len(request.works)
            if not request.future.done():
                request.future.set_result(committed.outcomes[first:last])
            first = last
        # After the callers, whose next writes then belong to the same group.
        self._loop.call_soon(self._hand_over)

    # In the thread

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
        try:
            self._connection.close()
        except sqlite3.Error as error:
            _log.warning("%s was not closed properly: %s", self._path, error)
        self._in_loop(self._ended.set_result, None)

    def _in_loop(self, callback: Callable[..., None], *args: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *args)
        except RuntimeError:
            # The loop is closed: nobody waits any more.
            _log.debug("the event loop closed before the SQLite driver was stopped")

    def _poll(self) -> None:
        try:
            changes = self._changes.poll()
        except sqlite3.Error as error:
            if not is_busy(error):
                _log.warning("%s: cannot read changes of other processes: %s", self._path, error)
            return
        gap, self._changes.gap = self._changes.gap, False
        if changes or gap:
            self._in_loop(self._on_commit, changes, gap)

    def _commit_group(self, group: list[_Request]) -> None:
        works = [work for request in group for work in request.works]
        try:
            committed = self._commit(works)
        except Exception as error:
            # A defect: fail the callers instead of the thread.
            self._roll_back()
            committed = _Committed([copy(error) for _ in works])
        self._in_loop(self._finish, group, committed)

    def _commit(self, works: Sequence[Work[object]]) -> _Committed:
        """Run the writes in one transaction, or each in its own if there is no room for all."""
        is_committing = False
        before = self._changes.position
        try:
            self._check_identity()
            begin_write(self._connection, self._lock_timeout_s)
            committed = self._run_works(works)
            is_committing = True
            self._connection.execute("COMMIT")
        except (sqlite3.Error, PrismError) as error:
            self._roll_back()
            self._changes.position = before
            if isinstance(error, sqlite3.Error):
                if has_no_room(error) and len(works) > 1:
                    return self._commit_one_by_one(works)
                error = self._translate(error, committing=is_committing)
            self.last_error = error
            # One for each caller: an exception collects the frames that it passes.
            return _Committed([copy(error) for _ in works])
        self.last_error = None
        return committed

    def _commit_one_by_one(self, works: Sequence[Work[object]]) -> _Committed:
        all_together = _Committed([])
        for work in works:
            one = self._commit((work,))
            all_together.outcomes += one.outcomes
            all_together.changes += one.changes
            all_together.gap |= one.gap
        return all_together

    def _run_works(self, works: Sequence[Work[object]]) -> _Committed:
        transaction, changes = self._transaction, self._changes
        (before,) = self._connection.execute("SELECT revision FROM state").fetchone()
        transaction.begin(before)
        transaction.recording, foreign = changes.begin()
        outcomes: list[object] = []
        for work in works:
            try:
                outcomes.append(work(transaction))
            except PrismError as refusal:
                outcomes.append(refusal)
            except sqlite3.Error as error:
                # SQLite undid this statement, or after a grave error the transaction.
                if has_no_room(error) or not self._connection.in_transaction:
                    raise
                outcomes.append(self._translate(error))
        if transaction.revision != before:
            self._connection.execute("UPDATE state SET revision = ?", (transaction.revision,))
        changes.end(transaction.events, transaction.revision)
        committed = _Committed(outcomes)
        if changes.listening:
            committed.changes = foreign + transaction.events
        committed.gap, changes.gap = changes.gap, False
        return committed

    def _translate(self, error: sqlite3.Error, *, committing: bool = False) -> PrismError:
        translated = translate(error, self._path, committing=committing)
        if is_damage(translated):
            self.damage = translated
        return translated

    def _roll_back(self) -> None:
        # After some errors SQLite has done so itself.
        if self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error as error:
                _log.warning("%s: cannot roll back: %s", self._path, error)

    def _check_identity(self) -> None:
        if not self.has_its_file():
            raise BackendUnavailable(
                f"{self._path} was deleted or replaced while it was open: restart the driver to"
                " use the file that is there now",
                reason="FILE_REPLACED",
                outcome=Outcome.NOT_APPLIED,
            )
