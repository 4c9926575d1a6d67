"""Folder with one file for each key. Every function blocks, and is called in a thread.

A file has a line of JSON with the key and its expiry, and then the value.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import BinaryIO, NamedTuple

from prism.kit import clamp_page_size
from prism.ports import (
    BackendUnavailable,
    Entry,
    Internal,
    InvalidArgument,
    Lifetime,
    Limits,
    Outcome,
    Page,
    Persisted,
    Version,
)

MARK = ".prism"
"""File that tells a folder of keys from an empty folder; writers lock it."""


class Header(NamedTuple):
    """First line of a file."""

    key: str
    expires_at_ms: int | None


class Folder:
    """Keys in a folder.

    Args:
        path: the folder.
        sync: whether a write is on the disk before it is acknowledged.
    """

    def __init__(self, path: Path, *, sync: bool) -> None:
        self._path = path
        self._sync = sync

    def create(self) -> None:
        """Mark the folder as one of ours, and remove what killed writers left.

        Raises:
            InvalidArgument: there is no such folder.
        """
        if not self._path.is_dir():
            raise InvalidArgument(f"{self._path} is not a folder: create it")
        (self._path / MARK).touch()
        with self._locked():
            for part in self._path.glob("*.part"):
                part.unlink()

    def get(self, key: str) -> Entry | None:
        found = self._read(key)
        if found is None:
            return None
        header, value = found
        return Entry(value, version_of(value), header.expires_at_ms)

    def put(self, key: str, value: bytes, ttl: timedelta | None) -> Version:
        with self._locked():
            self._write(Header(key, _expiry_ms(ttl)), value)
        return version_of(value)

    def delete(self, key: str) -> bool:
        with self._locked():
            if self._read(key) is None:
                return False
            self._file(key).unlink()
            self._sync_folder()
            return True

    def lifetime(self, key: str) -> Lifetime | None:
        found = self._read(key)
        if found is None:
            return None
        expires_at_ms = found[0].expires_at_ms
        if expires_at_ms is None:
            return Lifetime()
        return Lifetime(timedelta(milliseconds=max(expires_at_ms - now_ms(), 0)))

    def expire(self, key: str, ttl: timedelta) -> bool:
        with self._locked():
            found = self._read(key)
            if found is None:
                return False
            self._write(Header(key, _expiry_ms(ttl)), found[1])
            return True

    def persist(self, key: str) -> Persisted:
        with self._locked():
            found = self._read(key)
            if found is None:
                return Persisted.NO_KEY
            header, value = found
            if header.expires_at_ms is None:
                return Persisted.NO_EXPIRY
            self._write(Header(key, None), value)
            return Persisted.EXPIRY_REMOVED

    def page(self, prefix: str, page_size: int, after: str, values: bool, limits: Limits) -> Page:
        """Return the keys with the prefix whose files come after the file `after`, by name."""
        size = clamp_page_size(page_size, limits)
        keys: list[str] = []
        entries: list[Entry] = []
        bytes_left = limits.max_batch_bytes
        last = after
        for name in self._names():
            if name <= after:
                continue
            found = self._load(name, with_value=values)
            if found is None or not found[0].key.startswith(prefix) or _is_expired(found[0]):
                continue
            header, value = found
            bytes_left -= len(header.key.encode()) + len(value)
            if len(keys) == size or (keys and bytes_left < 0):
                return Page(keys, entries if values else None, last)
            keys.append(header.key)
            if values:
                entries.append(Entry(value, version_of(value), header.expires_at_ms))
            last = name
        return Page(keys, entries if values else None, "")

    def purge(self) -> int:
        """Remove the files of expired keys; return how many."""
        removed = 0
        for name in self._names():
            # Under the lock, because a writer could replace the file meanwhile.
            with self._locked():
                found = self._load(name, with_value=False)
                if found is not None and _is_expired(found[0]):
                    (self._path / name).unlink()
                    removed += 1
        return removed

    def count(self) -> int:
        """Return the number of files, some of which may have expired."""
        return len(self._names())

    def _read(self, key: str) -> tuple[Header, bytes] | None:
        found = self._load(self._file(key).name, with_value=True)
        return None if found is None or _is_expired(found[0]) else found

    def _load(self, name: str, *, with_value: bool) -> tuple[Header, bytes] | None:
        try:
            file = (self._path / name).open("rb")
        except FileNotFoundError:
            # Absent, unless everything is: a disk that is not mounted looks like this too.
            if not (self._path / MARK).exists():
                raise self._is_away() from None
            return None
        with file:
            return _read_header(file), file.read() if with_value else b""

    def _write(self, header: Header, value: bytes) -> None:
        """Replace a file as a whole: no reader sees a part of it, and no crash leaves one."""
        target = self._file(header.key)
        part = target.with_suffix(".part")
        with part.open("wb") as file:
            file.write(json.dumps(header._asdict()).encode() + b"\n" + value)
            file.flush()
            if self._sync:
                os.fsync(file.fileno())
        part.rename(target)
        self._sync_folder()

    def _sync_folder(self) -> None:
        """Put a rename or a removal on the disk."""
        if self._sync:
            folder = os.open(self._path, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Let no other process write meanwhile."""
        try:
            mark = (self._path / MARK).open("rb")
        except FileNotFoundError:
            raise self._is_away() from None
        with mark:
            fcntl.flock(mark, fcntl.LOCK_EX)
            yield

    def _is_away(self) -> BackendUnavailable:
        return BackendUnavailable(
            f"{self._path} has no file {MARK}: is its disk mounted?", outcome=Outcome.NOT_APPLIED
        )

    def _file(self, key: str) -> Path:
        # Not the key itself: it may be long, and have any character.
        return self._path / hashlib.sha256(key.encode()).hexdigest()

    def _names(self) -> list[str]:
        names = sorted(file.name for file in self._path.iterdir() if not file.suffix)
        if MARK not in names:
            raise self._is_away()
        names.remove(MARK)
        return names


def version_of(value: bytes) -> Version:
    """Return the version of a value: its digest, so that equal values have equal versions."""
    return Version(int.from_bytes(hashlib.blake2b(value, digest_size=8).digest()))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def _expiry_ms(ttl: timedelta | None) -> int | None:
    """Return when a ttl that starts now ends; both are rounded up, so that no key is lost early."""
    if ttl is None:
        return None
    return -(-time.time_ns() // 1_000_000) - -ttl // timedelta(milliseconds=1)


def _is_expired(header: Header) -> bool:
    return header.expires_at_ms is not None and header.expires_at_ms <= now_ms()


def _read_header(file: BinaryIO) -> Header:
    line = file.readline()
    try:
        return Header(**json.loads(line))
    except (ValueError, TypeError):
        raise Internal(f"{file.name} is damaged: {line[:80]!r}", reason="CORRUPT") from None
