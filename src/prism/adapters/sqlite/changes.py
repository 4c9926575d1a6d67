"""Changes that the processes on one file report to one another, for their watches.

A process with watches has a row in `watching`: a lease. While another process has one, each
transaction also writes its changes to the table `changes`, in the order of the commits. Reading
what others wrote, and writing, happen in one thread, so the changes of all processes are seen
in the order in which they were committed.

A process that stands still for longer than its lease loses the lease: the next writer deletes its
row. The process notices that the next time it reads, and ends its watches, because changes may be
missing.
"""

from __future__ import annotations

import sqlite3

from prism.adapters.sqlite.table import RecordedChange, Transaction, clock_ms, decoded
from prism.ports import Change

LEASE_MS = 10_000
RENEW_MS = 3_000

MAX_UNTRIMMED = 1_000
"""Number of changes of others after which a process says earlier that it has read them."""

_WATCHING = "SELECT process, until_ms FROM watching"
_CHANGES = """
    SELECT revision, change, CAST(key AS BLOB), value FROM changes
    WHERE revision > ? ORDER BY revision
"""
_RENEW = "INSERT OR REPLACE INTO watching (process, until_ms, seen) VALUES (?, ?, ?)"
_TRIM = """
    DELETE FROM changes WHERE revision <= (SELECT ifnull(min(seen), 1 << 62) FROM watching)
"""


class ChangeLog:
    """The part of one process in the exchange of changes.

    Every method is called in the thread of the writer, and within a transaction.

    Attributes:
        listening: whether this process has a lease.
        gap: whether the lease was lost, so that changes may be missing; the caller resets it.
    """

    def __init__(self, connection: sqlite3.Connection, process: str) -> None:
        self._connection = connection
        self._process = process
        self._seen = 0
        self._renewed_at_ms = 0
        self._read_since_renewal = 0
        self._data_version: int | None = None
        self._others_listen = False
        self.listening = False
        self.gap = False

    @property
    def position(self) -> tuple[int, bool, bool]:
        """State that a rollback restores."""
        return self._seen, self.listening, self.gap

    @position.setter
    def position(self, position: tuple[int, bool, bool]) -> None:
        self._seen, self.listening, self.gap = position

    def begin(self) -> tuple[bool, list[RecordedChange]]:
        """Begin a write transaction.

        Returns:
            Whether anybody watches, and the changes of others since the last look.
        """
        now_ms = clock_ms()
        self._others_listen = is_ours_kept = False
        for process, until_ms in self._connection.execute(_WATCHING).fetchall():
            if process == self._process:
                is_ours_kept = True
            elif until_ms > now_ms:
                self._others_listen = True
            else:
                self._connection.execute("DELETE FROM watching WHERE process = ?", (process,))
                self._connection.execute(_TRIM)
        foreign = self._read(is_ours_kept)
        return self._others_listen or self.listening, foreign

    def end(self, own: list[RecordedChange], revision: int) -> None:
        """Write the changes of this transaction for others, before it is committed."""
        if self._others_listen and own:
            self._connection.executemany("INSERT INTO changes VALUES (?, ?, ?, ?)", own)
        self._seen = revision

    def poll(self) -> list[RecordedChange]:
        """Return the changes of others since the last look, outside a write transaction."""
        (data_version,) = self._connection.execute("PRAGMA data_version").fetchone()
        if not self.listening or data_version == self._data_version:
            return []
        self._data_version = data_version
        self._connection.execute("BEGIN")
        try:
            ours = "SELECT 1 FROM watching WHERE process = ?"
            is_kept = self._connection.execute(ours, (self._process,)).fetchone() is not None
            return self._read(is_kept)
        finally:
            self._connection.execute("COMMIT")

    def needs_renewal(self) -> bool:
        """Return whether `renew` has to be called soon."""
        return self.listening and (
            clock_ms() - self._renewed_at_ms >= RENEW_MS
            or self._read_since_renewal >= MAX_UNTRIMMED
        )

    def renew(self, transaction: Transaction) -> None:
        """Take the lease, or prolong it; drop the changes that every process has read."""
        now_ms = clock_ms()
        seen = self._seen if self.listening else transaction.revision
        self._connection.execute(_RENEW, (self._process, now_ms + LEASE_MS, seen))
        self._connection.execute(_TRIM)
        self.listening = transaction.recording = True
        self._seen = seen
        self._renewed_at_ms = now_ms
        self._read_since_renewal = 0

    def release(self) -> None:
        """Give up the lease, because nobody watches here any more."""
        if self.listening:
            self.listening = False
            self._connection.execute("DELETE FROM watching WHERE process = ?", (self._process,))
            self._connection.execute(_TRIM)

    def _read(self, is_lease_kept: bool) -> list[RecordedChange]:
        if not self.listening:
            return []
        if not is_lease_kept:
            self.listening = False
            self.gap = True
            return []
        found = []
        for revision, change, raw, value in self._connection.execute(_CHANGES, (self._seen,)):
            self._seen = revision
            self._read_since_renewal += 1
            key = decoded(raw)
            if key is not None:
                found.append((revision, Change(change), key, value))
        return found
