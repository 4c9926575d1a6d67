"""Backups: a copy of the file while it is in use, and a new file from such a copy.

Both work on the files. A server need not run, and one that runs is not disturbed: SQLite lets
other processes read a consistent state, and they never wait for a writer.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from prism.adapters.sqlite.errors import CORRUPT, translate
from prism.adapters.sqlite.schema import APPLICATION_ID, MIGRATIONS
from prism.ports import Internal, InvalidArgument, PreconditionFailed

REVISIONS_PER_RESTORE = 1 << 32
"""Step of the revision in a restored file, more than can have been given out since the backup."""

_LOCK_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Copied:
    """Result of a backup.

    Attributes:
        keys: number of keys, some of which may have expired.
        bytes: size of the copy.
        seconds: duration, with the check of the copy.
    """

    keys: int
    bytes: int
    seconds: float


def back_up(database: Path, copy: Path) -> Copied:
    """Copy the keys of a database that may be in use, as they are at one moment.

    Args:
        database: file of a driver.
        copy: file to create; it appears once it is complete, checked and on the disk.

    Raises:
        PrismError: a file cannot be used; there is no copy then.
    """
    return _copy(database, copy, revisions=0)


def restore(copy: Path, database: Path) -> Copied:
    """Create a database from a backup.

    Versions that the old database gave out after the backup are not given out again.

    Args:
        copy: file that `back_up` wrote.
        database: file to create; it appears once it is complete, checked and on the disk.

    Raises:
        PrismError: a file cannot be used; there is no database then.
    """
    for leftover in (_beside(database, "-wal"), _beside(database, "-shm")):
        if leftover.exists():
            raise PreconditionFailed(
                f"{leftover} is left of an earlier database: move both away",
                reason="FILE_EXISTS",
            )
    return _copy(copy, database, revisions=REVISIONS_PER_RESTORE)


def _copy(source: Path, target: Path, *, revisions: int) -> Copied:
    started = time.perf_counter()
    if not source.is_file():
        raise InvalidArgument(f"there is no file {source}")
    if target.exists():
        raise PreconditionFailed(
            f"{target} exists: choose another file, or move it away", reason="FILE_EXISTS"
        )
    if not target.parent.is_dir():
        raise InvalidArgument(f"the folder of {target} does not exist: create it")
    part = _beside(target, ".part")
    part.unlink(missing_ok=True)
    try:
        with _opened(source, create=False) as reading, _opened(part, create=True) as writing:
            _check_ours(reading, source)
            with _translating(source):
                # In one step: a copy in many would begin again whenever somebody writes.
                reading.backup(writing)
            with _translating(part):
                keys = _finish(writing, part, revisions)
        _sync(part)
        part.rename(target)
        _sync(target.parent)
    except OSError as error:
        raise PreconditionFailed(
            f"{target} cannot be written: {error.strerror}", reason="CANNOT_WRITE"
        ) from None
    finally:
        part.unlink(missing_ok=True)
    return Copied(keys, target.stat().st_size, time.perf_counter() - started)


def _check_ours(connection: sqlite3.Connection, path: Path) -> None:
    with _translating(path):
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    if mark != APPLICATION_ID or not 1 <= version <= len(MIGRATIONS):
        raise PreconditionFailed(
            f"{path} was not written by the SQLite driver of this release or an earlier one",
            reason="NOT_OURS",
        )


def _finish(connection: sqlite3.Connection, path: Path, revisions: int) -> int:
    """Check a copy, make it a single file, and return the number of its keys."""
    connection.execute("PRAGMA journal_mode = DELETE")
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise Internal(f"the copy {path} is damaged, and so is its source: {found}", reason=CORRUPT)
    connection.execute("BEGIN")
    # Nobody watches the copy.
    connection.execute("DELETE FROM watching")
    connection.execute("DELETE FROM changes")
    connection.execute("UPDATE state SET revision = revision + ?", (revisions,))
    connection.execute("COMMIT")
    (keys,) = connection.execute("SELECT count(*) FROM entries").fetchone()
    return int(keys)


@contextmanager
def _opened(path: Path, *, create: bool) -> Iterator[sqlite3.Connection]:
    mode = "rwc" if create else "rw"
    with _translating(path):
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}",
            uri=True,
            timeout=_LOCK_TIMEOUT_SECONDS,
            isolation_level=None,
        )
    with closing(connection):
        yield connection


@contextmanager
def _translating(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from None


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
