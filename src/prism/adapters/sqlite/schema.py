"""Schema of the file, its versions, and how the file is opened.

docs/sqlite.md describes the view `kv`, which other programs may read and write.
"""

from __future__ import annotations

import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from prism.adapters.sqlite.errors import is_busy, translate
from prism.adapters.sqlite.settings import SqliteSettings
from prism.ports import InvalidArgument, PreconditionFailed

APPLICATION_ID = 0x5052534D
"""Marks a file of this driver: the database of another program is left alone."""

CACHE_KIB = 32_768
"""Memory that a connection may use for pages of the file."""

MAX_LOG_BYTES = 64 << 20
"""Size to which the write-ahead log is cut after a checkpoint."""

_LOCK_POLL_SECONDS = 0.001

_FIRST = (
    # One tree holds keys and values. Text compares by its UTF-8 bytes, so a prefix is a range.
    """
    CREATE TABLE entries (
        key TEXT NOT NULL PRIMARY KEY CHECK (typeof(key) = 'text'),
        revision INTEGER NOT NULL,
        expires_at_ms INTEGER,
        value BLOB NOT NULL CHECK (typeof(value) = 'blob')
    ) WITHOUT ROWID
    """,
    "CREATE INDEX expiring ON entries (expires_at_ms) WHERE expires_at_ms IS NOT NULL",
    # The last revision that was given to a change.
    "CREATE TABLE state (id INTEGER PRIMARY KEY CHECK (id = 1), revision INTEGER NOT NULL)",
    "INSERT INTO state (id, revision) VALUES (1, 0)",
    # Processes with watches, and the changes that they have yet to read.
    """
    CREATE TABLE watching (
        process TEXT NOT NULL PRIMARY KEY, until_ms INTEGER NOT NULL, seen INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE changes (
        revision INTEGER PRIMARY KEY, change TEXT NOT NULL, key TEXT NOT NULL, value BLOB
    )
    """,
    # What other programs read and write: keys that have not expired.
    """
    CREATE VIEW kv AS SELECT key, value, revision, expires_at_ms FROM entries
        WHERE expires_at_ms IS NULL
            OR expires_at_ms > CAST((julianday() - 2440587.5) * 86400000 AS INTEGER)
    """,
    """
    CREATE TRIGGER kv_insert INSTEAD OF INSERT ON kv BEGIN
        SELECT RAISE(ABORT, 'a key has 1 to 1024 bytes')
            WHERE length(CAST(new.key AS BLOB)) NOT BETWEEN 1 AND 1024;
        UPDATE state SET revision = revision + 1;
        INSERT INTO entries (key, revision, expires_at_ms, value)
            VALUES (CAST(new.key AS TEXT), (SELECT revision FROM state), new.expires_at_ms,
                CAST(new.value AS BLOB))
            ON CONFLICT (key) DO UPDATE SET revision = excluded.revision,
                expires_at_ms = excluded.expires_at_ms, value = excluded.value;
        INSERT INTO changes (revision, change, key, value)
            SELECT revision, 'put', CAST(new.key AS TEXT), CAST(new.value AS BLOB) FROM state
            WHERE EXISTS (SELECT 1 FROM watching);
    END
    """,
    """
    CREATE TRIGGER kv_update INSTEAD OF UPDATE OF value ON kv BEGIN
        UPDATE state SET revision = revision + 1;
        UPDATE entries SET revision = (SELECT revision FROM state), value = CAST(new.value AS BLOB)
            WHERE key = old.key;
        INSERT INTO changes (revision, change, key, value)
            SELECT revision, 'put', old.key, CAST(new.value AS BLOB) FROM state
            WHERE EXISTS (SELECT 1 FROM watching);
    END
    """,
    """
    CREATE TRIGGER kv_expire INSTEAD OF UPDATE OF expires_at_ms ON kv BEGIN
        UPDATE entries SET expires_at_ms = new.expires_at_ms WHERE key = old.key;
    END
    """,
    """
    CREATE TRIGGER kv_rename INSTEAD OF UPDATE OF key, revision ON kv BEGIN
        SELECT RAISE(ABORT, 'key and revision cannot be changed: insert a key, delete the other');
    END
    """,
    """
    CREATE TRIGGER kv_delete INSTEAD OF DELETE ON kv BEGIN
        UPDATE state SET revision = revision + 1;
        DELETE FROM entries WHERE key = old.key;
        INSERT INTO changes (revision, change, key, value)
            SELECT revision, 'delete', old.key, NULL FROM state
            WHERE EXISTS (SELECT 1 FROM watching);
    END
    """,
)

MIGRATIONS = (_FIRST,)
"""Statements that lead from each version of the schema to the next; the first begins at 0."""


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """Identity of a file on its disk: another file may take its path."""

    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileIdentity | None:
        """Return the identity of the file that has this path now; None: there is none."""
        try:
            found = path.stat()
        except OSError:
            return None
        return cls(found.st_dev, found.st_ino)


def open_writer(settings: SqliteSettings) -> sqlite3.Connection:
    """Open the file for writing; create or migrate its tables.

    Raises:
        PrismError: the file cannot be used; it is as it was before.
    """
    path = settings.path
    if not path.parent.is_dir():
        raise InvalidArgument(f"the folder of {path} does not exist: create it")
    timeout_s = settings.lock_timeout.total_seconds()
    try:
        connection = _connect(path, timeout_s)
        try:
            _prepare(connection, settings, timeout_s)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise translate(error, path) from error
    return connection


def open_reader(path: Path, lock_timeout_s: float) -> sqlite3.Connection:
    """Open a file that a writer has prepared, for reading only.

    Readers never wait for a writer. They can meet a lock for a moment only, while another
    process opens or closes the file.
    """
    try:
        return _connect(path, lock_timeout_s, "query_only = ON")
    except sqlite3.Error as error:
        raise translate(error, path) from error


def never_wait(connection: sqlite3.Connection) -> None:
    """Make the connection fail at once while another process holds a lock."""
    connection.execute("PRAGMA busy_timeout = 0")


def begin_write(connection: sqlite3.Connection, timeout_s: float) -> None:
    """Begin the write transaction: no other connection can write until it ends.

    Raises:
        sqlite3.OperationalError: another process holds the lock for longer than the timeout.
    """
    # SQLite's own waiting sleeps for up to 0.1 s at a time, so that a process that commits
    # all the time would keep the others out.
    _repeat_while_busy(connection, "BEGIN IMMEDIATE", timeout_s)


def _connect(path: Path, timeout_s: float, *pragmas: str) -> sqlite3.Connection:
    # Whichever thread uses a connection is the only one that does so at that time.
    connection = sqlite3.connect(
        path, timeout=timeout_s, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in (f"cache_size = -{CACHE_KIB}", *pragmas):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, settings: SqliteSettings, timeout_s: float) -> None:
    if settings.max_bytes:
        (page_size,) = connection.execute("PRAGMA page_size").fetchone()
        pages = max(settings.max_bytes // page_size, 1)
        connection.execute(f"PRAGMA max_page_count = {pages}")
    begin_write(connection, timeout_s)
    try:
        _migrate(connection, settings.path)
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    (mode,) = _repeat_while_busy(connection, "PRAGMA journal_mode = WAL", timeout_s)
    if mode != "wal":
        raise InvalidArgument(
            f"{settings.path} is on a file system that SQLite cannot share memory on"
            f" (journal mode {mode}): use a local disk"
        )
    connection.execute(f"PRAGMA synchronous = {settings.synchronous}")
    connection.execute(f"PRAGMA journal_size_limit = {MAX_LOG_BYTES}")
    never_wait(connection)


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (encoding,) = connection.execute("PRAGMA encoding").fetchone()
    if mark != APPLICATION_ID:
        if mark or version or connection.execute("SELECT 1 FROM sqlite_schema").fetchone():
            raise PreconditionFailed(
                f"{path} is a database of another program: choose another file",
                reason="NOT_OURS",
            )
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    if version > len(MIGRATIONS):
        raise PreconditionFailed(
            f"{path} has version {version} of the schema and this release of Prism knows"
            f" {len(MIGRATIONS)}: use the release that wrote it, or a later one",
            reason="NEWER_SCHEMA",
        )
    if encoding != "UTF-8":
        raise PreconditionFailed(
            f"{path} stores text as {encoding}: choose another file", reason="NOT_OURS"
        )
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            connection.execute(statement)
    if version < len(MIGRATIONS):
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _repeat_while_busy(
    connection: sqlite3.Connection, statement: str, timeout_s: float
) -> tuple[str, ...]:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            row: tuple[str, ...] = connection.execute(statement).fetchone() or ()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
        else:
            return row
        time.sleep(_LOCK_POLL_SECONDS)
