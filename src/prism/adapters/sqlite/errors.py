"""Errors of SQLite, translated into errors of the ports."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from prism.ports import (
    AccessDenied,
    BackendUnavailable,
    Exhausted,
    Internal,
    InvalidArgument,
    NotServing,
    Outcome,
    PreconditionFailed,
    PrismError,
)

CORRUPT = "CORRUPT"
"""Reason of the error of a damaged file."""


def code_of(error: sqlite3.Error) -> int:
    """Return the primary result code of an error; https://sqlite.org/rescode.html."""
    # The low byte is the primary code; the higher bytes say more about it.
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF


def is_busy(error: sqlite3.Error) -> bool:
    """Return whether another connection holds a lock."""
    return code_of(error) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def has_no_room(error: sqlite3.Error) -> bool:
    """Return whether the disk, the file or the memory has no room for what was asked."""
    return code_of(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM)


def is_damage(error: PrismError) -> bool:
    """Return whether an error says that the file is damaged."""
    return error.reason == CORRUPT


def translate(error: sqlite3.Error, path: Path, *, committing: bool = False) -> PrismError:
    """Return the error of the ports for an error of SQLite.

    Args:
        path: database file, for the message.
        committing: whether a commit failed: after an error of the disk, what it wrote may be
            there after the next start.
    """
    outcome = Outcome.UNKNOWN if committing else Outcome.NOT_APPLIED
    if isinstance(error, sqlite3.ProgrammingError) and "closed" in str(error):
        return NotServing(f"{path} is not open: the driver was stopped")
    match code_of(error):
        case sqlite3.SQLITE_FULL:
            return Exhausted(
                f"{path} cannot grow: free space on its disk, or, if it has reached max_bytes,"
                " delete some keys or raise the limit"
            )
        case sqlite3.SQLITE_NOMEM:
            return Exhausted(f"SQLite has no memory for this operation on {path}")
        case sqlite3.SQLITE_TOOBIG:
            return InvalidArgument(f"the value is larger than SQLite stores in {path}")
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return BackendUnavailable(
                f"{path} is locked by another process for longer than lock_timeout: end its"
                " transaction, or raise the limit",
                reason="LOCKED",
                outcome=Outcome.NOT_APPLIED,
            )
        case sqlite3.SQLITE_CANTOPEN:
            return BackendUnavailable(
                f"{path} cannot be opened: check that it is a file, and the permissions of its"
                " folder",
                outcome=outcome,
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM | sqlite3.SQLITE_AUTH:
            return AccessDenied(
                f"{path} cannot be written: give this user write permission for the file and its"
                " folder",
            )
        case sqlite3.SQLITE_IOERR:
            return BackendUnavailable(
                f"the disk of {path} failed: {error}; check the disk", outcome=outcome
            )
        case sqlite3.SQLITE_CORRUPT:
            return Internal(
                f"{path} is damaged: {error}; restore it from a backup",
                reason=CORRUPT,
                outcome=outcome,
            )
        case sqlite3.SQLITE_NOTADB:
            return PreconditionFailed(
                f"{path} is not an SQLite database: choose another file", reason="NOT_A_DATABASE"
            )
    return Internal(f"SQLite failed on {path}: {error}", outcome=outcome)
