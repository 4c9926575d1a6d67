"""Table of entries: plain SQL, called within a transaction by one thread."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from datetime import timedelta

from prism.kit import add_to_counter, clamp_page_size, version_conflict
from prism.ports import Count, Entry, Limits, Page, Version

# AUTOINCREMENT never repeats a number, not even after a delete or a restart, so the number
# can serve as a revision. A key is a blob because blobs sort by their bytes.
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


class Table:
    """Operations on the table. Expiry is judged by the clock of the machine."""

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
        """Set or remove the expiry of a key; return False when the key is absent."""
        changed = self._connection.execute(_EXPIRE, (_expiry_ms(ttl), key.encode(), now_ms()))
        return changed.rowcount > 0

    def compare(self, key: str, expected: Version | None) -> None:
        """Raise `VersionConflict` unless the key has this version; None: unless it is absent."""
        entry = self.get(key)
        if (entry.version if entry else None) != expected:
            raise version_conflict(expected)

    def increment(self, key: str, delta: int) -> Count:
        entry = self.get(key)
        total = add_to_counter(entry and entry.value, delta)
        return Count(total, self._put(key, b"%d" % total, entry and entry.expires_at_ms))

    def page(
        self, prefix: str, *, page_size: int, after: str, values: bool, limits: Limits
    ) -> Page:
        """Return the keys with the prefix that come after the key `after`, sorted by bytes."""
        # No key lies between `after` and `after` with a NUL. UTF-8 has no byte 0xFF.
        first = f"{after}\0" if after else prefix
        size = clamp_page_size(page_size, limits)
        bounds = (values, first.encode(), prefix.encode() + b"\xff", now_ms(), size + 1)
        keys: list[str] = []
        entries: list[Entry] = []
        bytes_left = limits.max_batch_bytes
        with closing(self._connection.execute(_SCAN, bounds)) as rows:
            for key, *entry in rows:
                bytes_left -= len(key) + len(entry[0] or b"")
                if len(keys) == size or (keys and bytes_left < 0):
                    return Page(keys, entries if values else None, keys[-1])
                keys.append(key.decode())
                if values:
                    entries.append(Entry(*entry))
        return Page(keys, entries if values else None, "")

    def purge(self, at_most: int) -> int:
        """Delete expired entries; return how many."""
        return self._connection.execute(_PURGE, (now_ms(), at_most)).rowcount

    def size(self) -> int:
        """Return the size of the file in bytes, without its log."""
        pages, page_size = (
            self._connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "page_size")
        )
        size: int = pages * page_size
        return size

    def _put(self, key: str, value: bytes, expires_at_ms: int | None) -> Version:
        put = self._connection.execute(_PUT, (key.encode(), value, expires_at_ms))
        assert put.lastrowid is not None, "an INSERT sets it"
        return Version(put.lastrowid)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _expiry_ms(ttl: timedelta | None) -> int | None:
    """Return when a ttl that starts now ends; both are rounded up, so that no key is lost early."""
    if ttl is None:
        return None
    return -(-time.time_ns() // 1_000_000) - -ttl // timedelta(milliseconds=1)
