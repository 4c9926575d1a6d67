"""Table of entries: each operation in plain SQL, on the connection of the caller."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta

from prism.kit import (
    ReplyBudget,
    add_to_counter,
    check_conditions,
    clamp_page_size,
    version_conflict,
)
from prism.ports import (
    Change,
    Condition,
    Count,
    Delete,
    Entry,
    InvalidArgument,
    Lifetime,
    Limits,
    Page,
    Persisted,
    PrismError,
    Version,
    Write,
)

MAX_EXPIRED_PER_SWEEP = 1000

_MILLISECOND = timedelta(milliseconds=1)
# Entry(...) takes three times as long.
_entry = tuple.__new__

_GET = "SELECT value, revision, expires_at_ms FROM entries WHERE key = ?"
_FIND = "SELECT revision, expires_at_ms FROM entries WHERE key = ?"
_PUT = """
    INSERT INTO entries (key, revision, expires_at_ms, value) VALUES (?, ?, ?, ?)
    ON CONFLICT (key) DO UPDATE SET revision = excluded.revision,
        expires_at_ms = excluded.expires_at_ms, value = excluded.value
"""
_DELETE = "DELETE FROM entries WHERE key = ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)"
_EXPIRE = """
    UPDATE entries SET expires_at_ms = ?
    WHERE key = ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)
"""
_PERSIST = "UPDATE entries SET expires_at_ms = NULL WHERE key = ?"
# Other programs can store a key that is not UTF-8, so keys are read as bytes. No byte of UTF-8
# is 0xFF.
_SCAN = """
    SELECT CAST(key AS BLOB), revision, expires_at_ms, iif(?, value, NULL) FROM entries
    WHERE key > CAST(? AS TEXT) AND key < CAST(? AS TEXT)
        AND (expires_at_ms IS NULL OR expires_at_ms > ?)
    ORDER BY key
"""
_SCAN_FROM_START = _SCAN.replace("key >", "key >=")
_EXPIRED = "SELECT CAST(key AS BLOB) FROM entries WHERE expires_at_ms <= ? LIMIT ?"
_ANY_EXPIRED = "SELECT 1 FROM entries WHERE expires_at_ms <= ? LIMIT 1"
_REMOVE = "DELETE FROM entries WHERE key = CAST(? AS TEXT)"


class Entries:
    """Reads of the table.

    Args:
        connection: connection that no other thread uses meanwhile.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._cursor = connection.cursor()
        self._connection = connection

    def get(self, key: str) -> Entry | None:
        row = self._cursor.execute(_GET, (key,)).fetchone()
        if row is None or (row[2] is not None and row[2] <= clock_ms()):
            return None
        return _entry(Entry, row)

    def find(self, key: str) -> tuple[Version, int | None] | None:
        """Return the version and the expiry of a key, without its value; None: it is absent."""
        row: tuple[Version, int | None] | None
        row = self._cursor.execute(_FIND, (key,)).fetchone()
        if row is None or (row[1] is not None and row[1] <= clock_ms()):
            return None
        return row

    def version(self, key: str) -> Version | None:
        found = self.find(key)
        return None if found is None else found[0]

    def exists(self, key: str) -> bool:
        return self.find(key) is not None

    def lifetime(self, key: str) -> Lifetime | None:
        found = self.find(key)
        if found is None:
            return None
        _, expires_at_ms = found
        if expires_at_ms is None:
            return Lifetime()
        return Lifetime(max(1, expires_at_ms - math.ceil(time.time_ns() / 1e6)) * _MILLISECOND)

    def get_many(self, keys: Sequence[str], max_bytes: int) -> list[Entry | PrismError | None]:
        return ReplyBudget(max_bytes).limit(self.get(key) for key in keys)

    def page(
        self, prefix: str, *, page_size: int, page_token: str, values: bool, limits: Limits
    ) -> Page:
        """Return a page of a scan.

        Args:
            page_token: last key that the page before looked at, as hexadecimal digits.
        """
        start = prefix.encode()
        after = _cursor_of(page_token, start) if page_token else start
        size = clamp_page_size(page_size, limits)
        bounds = (values, after, start + b"\xff", clock_ms())
        keys: list[str] = []
        entries: list[Entry] = []
        last = after
        page_bytes = 0
        statement = _SCAN if page_token else _SCAN_FROM_START
        # Closing the cursor ends the read transaction, which would keep the log from shrinking.
        with closing(self._connection.execute(statement, bounds)) as rows:
            for raw, revision, expires_at_ms, value in rows:
                page_bytes += len(raw) + len(value or b"")
                if len(keys) == size or (keys and page_bytes > limits.max_batch_bytes):
                    return Page(keys, entries if values else None, last.hex())
                last = raw
                try:
                    keys.append(raw.decode())
                except UnicodeDecodeError:
                    continue
                if values:
                    entries.append(Entry(value, revision, expires_at_ms))
        return Page(keys, entries if values else None, "")

    def any_expired(self) -> bool:
        """Return whether a key has expired and is still stored."""
        return self._cursor.execute(_ANY_EXPIRED, (clock_ms(),)).fetchone() is not None

    def size(self) -> dict[str, str]:
        """Return the size of the file, without its log, as details of the health."""
        pages, page_size = (
            self._cursor.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "page_size")
        )
        return {"bytes": str(pages * page_size)}


class Transaction(Entries):
    """Reads and writes of one write transaction, which begins with `begin`.

    An operation either makes its one change or raises; what it raises fails its caller alone.

    Attributes:
        revision: last revision that was given to a change.
        events: changes of this transaction, in order, if `recording`.
        recording: whether anybody watches.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        super().__init__(connection)
        self.revision = 0
        self.recording = False
        self.events: list[RecordedChange] = []

    def begin(self, revision: int) -> None:
        """Start to count from this revision."""
        self.revision = revision
        self.recording = False
        self.events = []

    def put(self, key: str, value: bytes, ttl: timedelta | None) -> Version:
        return self._put(key, value, None if ttl is None else self._deadline(ttl))

    def delete(self, key: str) -> bool:
        if self._cursor.execute(_DELETE, (key, clock_ms())).rowcount == 0:
            return False
        self.revision += 1
        if self.recording:
            self.events.append((self.revision, Change.DELETE, key, None))
        return True

    def expire(self, key: str, ttl: timedelta) -> bool:
        change = (self._deadline(ttl), key, clock_ms())
        return self._cursor.execute(_EXPIRE, change).rowcount > 0

    def persist(self, key: str) -> Persisted:
        found = self.find(key)
        if found is None:
            return Persisted.NO_KEY
        if found[1] is None:
            return Persisted.NO_EXPIRY
        self._cursor.execute(_PERSIST, (key,))
        return Persisted.EXPIRY_REMOVED

    def compare_and_set(
        self, key: str, value: bytes, expected: Version | None, ttl: timedelta | None
    ) -> Version:
        self._compare(key, expected)
        return self.put(key, value, ttl)

    def compare_and_delete(self, key: str, expected: Version) -> None:
        self._compare(key, expected)
        self.delete(key)

    def increment(self, key: str, delta: int) -> Count:
        entry = self.get(key)
        number = add_to_counter(entry and entry.value, delta)
        return Count(number, self._put(key, b"%d" % number, entry and entry.expires_at_ms))

    def apply(
        self, conditions: Sequence[Condition], writes: Sequence[Write]
    ) -> list[Version | bool]:
        check_conditions(conditions, self.version)
        before = self.revision, len(self.events)
        self._cursor.execute("SAVEPOINT apply")
        try:
            results = [
                self.delete(write.key) if isinstance(write, Delete) else self.put(*write)
                for write in writes
            ]
        except BaseException:
            # After some errors SQLite has undone the whole transaction.
            if self._connection.in_transaction:
                self._cursor.execute("ROLLBACK TO apply")
                self._cursor.execute("RELEASE apply")
            self.revision = before[0]
            del self.events[before[1] :]
            raise
        self._cursor.execute("RELEASE apply")
        return results

    def sweep(self) -> int:
        """Delete some expired keys; return how many."""
        expired = self._cursor.execute(_EXPIRED, (clock_ms(), MAX_EXPIRED_PER_SWEEP)).fetchall()
        for (raw,) in expired:
            self._cursor.execute(_REMOVE, (raw,))
            self.revision += 1
            if self.recording and (key := decoded(raw)) is not None:
                self.events.append((self.revision, Change.EXPIRE, key, None))
        return len(expired)

    def use_revision(self) -> None:
        """Leave out a revision: the smallest change of the file that no caller notices."""
        self.revision += 1

    def _compare(self, key: str, expected: Version | None) -> None:
        found = self.find(key)
        if (None if found is None else found[0]) != expected:
            raise version_conflict(expected)

    def _put(self, key: str, value: bytes, expires_at_ms: int | None) -> Version:
        revision = self.revision + 1
        self._cursor.execute(_PUT, (key, revision, expires_at_ms, value))
        self.revision = revision
        if self.recording:
            self.events.append((revision, Change.PUT, key, value))
        return Version(revision)

    def _deadline(self, ttl: timedelta) -> int:
        """Return when a ttl that starts now ends; rounded up, so that it never ends early."""
        return -(-time.time_ns() // 1_000_000) - -ttl // _MILLISECOND


RecordedChange = tuple[int, Change, str, bytes | None]
"""Revision, kind, key and value of a change."""


def clock_ms() -> int:
    """Return the milliseconds since the Unix epoch, by the wall clock."""
    return time.time_ns() // 1_000_000


def decoded(raw: bytes) -> str | None:
    """Return the key in these bytes; None if they are not UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def _cursor_of(page_token: str, prefix: bytes) -> bytes:
    try:
        after = bytes.fromhex(page_token)
    except ValueError:
        after = b""
    if not after or not after.startswith(prefix):
        raise InvalidArgument("the page token belongs to another scan: begin without a token")
    return after
