"""The table of keys: plain SQL, for one thread and within one transaction."""

from __future__ import annotations

import re
import sqlite3
import time
from contextlib import closing
from datetime import timedelta

from prism.ports import Entry, Limits, Page, PreconditionFailed, Version, VersionConflict

# AUTOINCREMENT never gives a number twice, not even after a delete or a restart:
# that makes it a revision. A key is a blob because blobs sort by their bytes.
SCHEMA = (
    """
    CREATE TABLE entries (
        revision INTEGER PRIMARY KEY AUTOINCREMENT,
        key BLOB NOT NULL UNIQUE,
        value BLOB NOT NULL,
        expires_at_ms INTEGER
    )
    """,
    "CREATE INDEX expiring ON entries (expires_at_ms) WHERE expires_at_ms IS NOT NULL",
)

_GET = """
    SELECT value, revision, expires_at_ms FROM entries
    WHERE key = ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)
"""
# Replacing a row gives it a new revision.
_PUT = "INSERT OR REPLACE INTO entries (key, value, expires_at_ms) VALUES (?, ?, ?)"
_DELETE = """
    DELETE FROM entries WHERE key = ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)
"""
_EXPIRE = """
    UPDATE entries SET expires_at_ms = ?
    WHERE key = ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)
"""
_SCAN = """
    SELECT key, iif(?, value, NULL), revision, expires_at_ms FROM entries
    WHERE key >= ? AND key < ? AND (expires_at_ms IS NULL OR expires_at_ms > ?)
    ORDER BY key LIMIT ?
"""
_PURGE = """
    DELETE FROM entries WHERE revision IN (
        SELECT revision FROM entries WHERE expires_at_ms <= ? LIMIT ?
    )
"""

_CANONICAL = re.compile(rb"0|-?[1-9][0-9]{0,18}")
_INT64 = range(-(2**63), 2**63)


class Table:
    """The operations, each as of now by the clock of the machine."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def get(self, key: str) -> Entry | None:
        row = self._connection.execute(_GET, (key.encode(), now_ms())).fetchone()
        return row and Entry(*row)

    def put(self, key: str, value: bytes, ttl: timedelta | None) -> Version:
        return self._put(key, value, _expiry_ms(ttl))

    def delete(self, key: str) -> bool:
        return self._connection.execute(_DELETE, (key.encode(), now_ms())).rowcount > 0

    def expire(self, key: str, ttl: timedelta | None) -> bool:
        """Give an existing key a new expiry, or none; False when there is no such key."""
        changed = self._connection.execute(_EXPIRE, (_expiry_ms(ttl), key.encode(), now_ms()))
        return changed.rowcount > 0

    def compare(self, key: str, expected: Version | None) -> None:
        """Raise `VersionConflict` unless the key has the version; None: is absent."""
        entry = self.get(key)
        if entry is None and expected is not None:
            raise VersionConflict("the key is absent")
        if entry is not None and expected is None:
            raise VersionConflict("the key exists")
        if entry is not None and entry.version != expected:
            raise VersionConflict("the key has another version than the one expected")

    def increment(self, key: str, delta: int) -> tuple[int, Version]:
        entry = self.get(key) or Entry(b"0", Version(0))
        if not _CANONICAL.fullmatch(entry.value) or int(entry.value) not in _INT64:
            raise PreconditionFailed(
                "the value is no 64-bit integer in canonical decimal text", reason="NOT_AN_INTEGER"
            )
        total = int(entry.value) + delta
        if total not in _INT64:
            raise PreconditionFailed(
                f"{int(entry.value)} plus {delta} does not fit a signed 64-bit integer",
                reason="OVERFLOW",
            )
        return total, self._put(key, b"%d" % total, entry.expires_at_ms)

    def page(
        self, prefix: str, *, page_size: int, after: str, values: bool, limits: Limits
    ) -> Page:
        """The keys that begin with the prefix, in the order of their bytes, after one of them."""
        # Nothing lies between a key and the same with a NUL; no byte of UTF-8 is 0xFF.
        first = f"{after}\0" if after else prefix
        size = min(page_size or limits.max_page_size, limits.max_page_size)
        bounds = (values, first.encode(), prefix.encode() + b"\xff", now_ms(), size + 1)
        keys: list[str] = []
        entries: list[Entry] = []
        room = limits.max_batch_bytes
        with closing(self._connection.execute(_SCAN, bounds)) as rows:
            for key, *entry in rows:
                room -= len(key) + len(entry[0] or b"")
                if len(keys) == size or (keys and room < 0):
                    return Page(keys, entries if values else None, keys[-1])
                keys.append(key.decode())
                if values:
                    entries.append(Entry(*entry))
        return Page(keys, entries if values else None, "")

    def purge(self, at_most: int) -> int:
        """Delete what has expired; the number of keys."""
        return self._connection.execute(_PURGE, (now_ms(), at_most)).rowcount

    def size(self) -> int:
        """The size of the file without its log."""
        pages, page_size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "page_size")
        )
        size: int = pages * page_size
        return size

    def _put(self, key: str, value: bytes, expires_at_ms: int | None) -> Version:
        put = self._connection.execute(_PUT, (key.encode(), value, expires_at_ms))
        assert put.lastrowid is not None  # a row was inserted
        return Version(put.lastrowid)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _expiry_ms(ttl: timedelta | None) -> int | None:
    """The ttl and the time each rounded up, so that no key is lost before its time."""
    if ttl is None:
        return None
    return -(-time.time_ns() // 1_000_000) - -ttl // timedelta(milliseconds=1)
